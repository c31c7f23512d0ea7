// An application with ioredis's Cluster at its default options. Arguments: the nodes' cluster ports.
'use strict';

const assert = require('node:assert/strict');
const Redis = require('ioredis');
const rounds = require('./rounds');

async function main() {
  const cluster = new Redis.Cluster(process.argv.slice(2).map((port) => ({ host: '127.0.0.1', port: Number(port) })));
  cluster.on('error', (err) => console.error('ioredis:', err.message));
  cluster.on('node error', (err, address) => console.error('ioredis:', address, err.message));
  assert.equal(await cluster.set('session', 'data', 'EX', 3600), 'OK');
  assert.ok((await cluster.ttl('session')) > 3590);
  assert.equal(await cluster.mset({ '{t}a': '1', '{t}b': '2' }), 'OK');
  assert.deepEqual(await cluster.mget('{t}a', '{t}b', '{t}c'), ['1', '2', null]);
  assert.equal(await cluster.incr('n'), 1);
  assert.equal(cluster.nodes('master').length, process.argv.length - 2);
  const keys = (await Promise.all(cluster.nodes('master').map((node) => node.keys('*')))).flat().sort();
  assert.deepEqual(keys, ['n', 'session', '{t}a', '{t}b']);
  const sizes = await Promise.all(cluster.nodes('master').map((node) => node.dbsize()));
  assert.equal(sizes.reduce((sum, size) => sum + size, 0), 4);
  const pipeline = cluster.pipeline();
  for (let i = 0; i < 100; i++) pipeline.set(`{p}${i}`, i).get(`{p}${i}`);
  (await pipeline.exec()).forEach(([err, value], i) => {
    assert.equal(err, null);
    assert.equal(value, i % 2 ? String((i - 1) / 2) : 'OK');
  });
  await rounds(cluster);
  await cluster.quit();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
