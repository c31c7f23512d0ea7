// What an application does with node-redis, at its default options and with RESP2. Argument: the server's port.
'use strict';

const assert = require('node:assert/strict');
const { createClient } = require('redis');

async function use(options) {
  const r = createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, ...options });
  r.on('error', (err) => { throw err; });
  await r.connect();
  assert.equal(await r.flushAll(), 'OK');
  assert.equal(await r.set('session', 'data\r\n', { expiration: { type: 'EX', value: 3600 } }), 'OK');
  assert.equal(await r.get('session'), 'data\r\n');
  assert.equal(await r.get('nothing'), null);
  const ttl = await r.ttl('session');
  assert.ok(ttl > 3590 && ttl <= 3600, `ttl ${ttl}`);
  assert.equal(await r.set('lock', 'me', { condition: 'NX' }), 'OK');
  assert.equal(await r.set('lock', 'you', { condition: 'NX' }), null);
  assert.equal(await r.set('lock', 'you', { GET: true }), 'me');
  assert.equal(await r.incrBy('n', 42), 42);
  assert.equal(Number(await r.incrByFloat('f', 1.5)), 1.5);
  assert.equal(await r.mSet({ a: '1', b: '2' }), 'OK');
  assert.deepEqual(await r.mGet(['a', 'nothing', 'b']), ['1', null, '2']);
  await assert.rejects(r.sendCommand(['NOSUCH', 'x']), { message: /^ERR unknown command 'NOSUCH'/ });

  // Commands given in one turn of the event loop go out as one pipeline.
  const replies = await Promise.all(Array.from({ length: 1000 }, (_, i) => r.set(`p:${i}`, String(i)).then(() => r.get(`p:${i}`))));
  assert.deepEqual(replies, Array.from({ length: 1000 }, (_, i) => String(i)));
  const seen = new Set();
  for await (const keys of r.scanIterator({ MATCH: 'p:*', COUNT: 100 })) [keys].flat().forEach((k) => seen.add(k));
  assert.equal(seen.size, 1000);
  assert.equal(await r.del(['session', 'nothing']), 1);
  assert.equal((await r.configGet('databases')).databases, '16');
  assert.match(await r.info('server'), /redis_version:7\./);
  await r.close();
}

async function main() {
  await use({});
  await use({ RESP: 2 });
  await use({ database: 3, name: 'tester' });
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
