"""An application with redis-py's RedisCluster at its default options. Arguments: the nodes' cluster ports.

Each line of standard input is the name of a round, as rounds.js beside the Node.js clients explains.
"""

import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

KEYS = 200
PATIENCE_S = 20


def check(what, got, want):
    if got != want:
        sys.exit("%s: %r, want %r" % (what, got, want))


def connect():
    return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in ports])


def persist(what, operation):
    global r
    since = time.monotonic()
    while True:
        try:
            return operation()
        except (redis.RedisError, redis.exceptions.RedisClusterException) as e:
            if time.monotonic() - since > PATIENCE_S:
                sys.exit("%s: %r" % (what, e))
            time.sleep(0.05)
            # Before 4.4 a client that has lost a node may be broken for good: it cannot copy its
            # own options (redis-py's pull request 2377).
            if isinstance(e, redis.exceptions.RedisClusterException):
                try:
                    r = connect()
                except redis.exceptions.RedisClusterException:
                    pass


ports = [int(port) for port in sys.argv[1:]]
r = connect()
check("masters", sorted(n.port for n in r.get_primaries()), sorted(ports))
check("setex", r.setex("session", 3600, "data"), True)
check("incr", r.incr("n"), 1)
check("mset", r.mset_nonatomic({"a": "1", "b": "2", "c": "3"}), [True] * 3)
check("mget", r.mget_nonatomic("a", "b", "c"), [b"1", b"2", b"3"])
check("keys", sorted(r.keys("*", target_nodes=RedisCluster.PRIMARIES)), [b"a", b"b", b"c", b"n", b"session"])
check("scan_iter", sorted(r.scan_iter("*")), [b"a", b"b", b"c", b"n", b"session"])
check("dbsize", r.dbsize(target_nodes=RedisCluster.PRIMARIES), 5)
check("keyslot", r.cluster_keyslot("foo{hash_tag}"), 2515)
check("countkeysinslot", r.cluster_countkeysinslot(r.keyslot("session")), 1)
with r.pipeline() as p:
    for i in range(100):
        p.set("p:%d" % i, i).get("p:%d" % i)
    check("pipeline", p.execute()[1::2], [str(i).encode() for i in range(100)])

rounds = []
print("ready", flush=True)
for line in sys.stdin:
    name = line.strip()
    for i in range(KEYS):
        persist("set in " + name, lambda: r.set("%s:%d" % (name, i), "%s %d" % (name, i)))
    rounds.append(name)
    for earlier in rounds:
        for i in range(KEYS):
            got = persist("get in " + name, lambda: r.get("%s:%d" % (earlier, i)))
            check("get in " + name, got, b"%s %d" % (earlier.encode(), i))
    print("done " + name, flush=True)
