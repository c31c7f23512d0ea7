"""What a web application does with redis-py at its default options. Argument: the server's port."""

import sys

import redis


def check(what, got, want):
    if got != want:
        sys.exit("%s: %r, want %r" % (what, got, want))


r = redis.Redis(port=int(sys.argv[1]))
check("ping", r.ping(), True)
check("flushall", r.flushall(), True)
check("setex", r.setex("session:1", 3600, b"\x80\x04data\r\n"), True)
check("get", r.get("session:1"), b"\x80\x04data\r\n")
check("ttl", 3590 < r.ttl("session:1") <= 3600, True)
check("get of nothing", r.get("nothing"), None)
check("set nx", r.set("lock", "me", nx=True, px=60000), True)
check("set nx again", r.set("lock", "you", nx=True, px=60000), None)
check("set get", r.set("lock", "you", get=True, keepttl=True), b"me")
check("incr", [r.incr("n"), r.incr("n", 10), r.decr("n", 2)], [1, 11, 9])
check("incrbyfloat", r.incrbyfloat("f", 0.1), 0.1)
check("mset", r.mset({"a": "1", "b": "2"}), True)
check("mget", r.mget("a", "nothing", "b"), [b"1", None, b"2"])
check("getrange", r.getrange("session:1", 2, 5), b"data")
check("setbit", [r.setbit("bits", 7, 1), r.getbit("bits", 7), r.bitcount("bits")], [0, 1, 1])
check("bitfield", r.bitfield("field").set("u8", 0, 200).incrby("u8", 0, 100, "SAT").execute(), [0, 255])
check("expire", r.expire("a", 100, nx=True), True)
check("persist", r.persist("a"), True)
check("getex", r.getex("b", persist=True), b"2")
check("getdel", r.getdel("b"), b"2")
check("exists", r.exists("a", "b", "n"), 2)
check("rename", r.rename("a", "z"), True)
check("copy", r.copy("z", "copy"), True)
check("dump and restore", r.restore("restored", 0, r.dump("z")), b"OK")
check("type", r.type("z"), b"string")

with r.pipeline(transaction=False) as p:
    for i in range(1000):
        p.set("p:%d" % i, i).get("p:%d" % i)
    replies = p.execute()
check("pipeline", replies[1::2], [str(i).encode() for i in range(1000)])
check("scan_iter", len(set(r.scan_iter("p:*", count=100))), 1000)
check("keys", len(r.keys("p:99*")), 11)
check("unlink", r.unlink(*["p:%d" % i for i in range(1000)]), 1000)

check("info", r.info("server")["redis_version"].startswith("7."), True)
check("keyspace", r.info("keyspace")["db0"]["keys"], r.dbsize())
check("config_get", r.config_get("databases"), {"databases": "16"})
check("client_setname", [r.client_setname("py"), r.client_getname()], [True, "py"])
check("client_list", any(c["name"] == "py" for c in r.client_list()), True)
check("time", len(r.time()), 2)
check("command_count", r.command_count() > 50, True)
try:
    r.execute_command("NOSUCH", "x")
    sys.exit("NOSUCH is answered")
except redis.ResponseError as e:
    check("unknown command", str(e), "unknown command 'NOSUCH', with args beginning with: 'x' ")
try:
    r.incr("session:1")
    sys.exit("INCR of text is answered")
except redis.ResponseError as e:
    check("incr of text", str(e), "value is not an integer or out of range")

blocked = redis.Redis(port=int(sys.argv[1]), db=99)
try:
    blocked.ping()
    sys.exit("database 99 is answered")
except redis.ResponseError:
    pass
