// What an application does with ioredis at its default options. Argument: the server's port.
'use strict';

const assert = require('node:assert/strict');
const Redis = require('ioredis');

async function main() {
  const r = new Redis(Number(process.argv[2]));
  assert.equal(await r.flushall(), 'OK');
  assert.equal(await r.set('session', 'data\r\n', 'EX', 3600), 'OK');
  assert.equal(await r.get('session'), 'data\r\n');
  assert.equal(await r.get('nothing'), null);
  const ttl = await r.ttl('session');
  assert.ok(ttl > 3590 && ttl <= 3600, `ttl ${ttl}`);
  assert.equal(await r.set('lock', 'me', 'PX', 60000, 'NX'), 'OK');
  assert.equal(await r.set('lock', 'you', 'PX', 60000, 'NX'), null);
  assert.equal(await r.incrby('n', 42), 42);
  assert.equal(await r.mset({ a: '1', b: '2' }), 'OK');
  assert.deepEqual(await r.mget('a', 'nothing', 'b'), ['1', null, '2']);
  assert.deepEqual(await r.getBuffer('session'), Buffer.from('data\r\n'));
  await assert.rejects(r.call('NOSUCH', 'x'), { message: /^ERR unknown command 'NOSUCH'/ });
  await assert.rejects(r.incr('session'), { message: 'ERR value is not an integer or out of range' });

  const pipeline = r.pipeline();
  for (let i = 0; i < 1000; i++) pipeline.set(`p:${i}`, i).get(`p:${i}`);
  const replies = await pipeline.exec();
  replies.forEach(([err, value], i) => {
    assert.equal(err, null);
    assert.equal(value, i % 2 ? String((i - 1) / 2) : 'OK');
  });
  const seen = new Set();
  for await (const keys of r.scanStream({ match: 'p:*', count: 100 })) keys.forEach((k) => seen.add(k));
  assert.equal(seen.size, 1000);
  assert.equal(await r.del('session', 'nothing'), 1);
  assert.match(await r.info(), /redis_version:7\./);

  const named = new Redis({ port: Number(process.argv[2]), db: 3, connectionName: 'tester' });
  assert.equal(await named.get('a'), null);
  assert.equal(await named.client('GETNAME'), 'tester');
  assert.equal(await named.quit(), 'OK');
  assert.equal(await r.quit(), 'OK');
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
