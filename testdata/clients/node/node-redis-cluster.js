// An application with node-redis's cluster client at its default options. Arguments: the nodes' cluster ports.
'use strict';

const assert = require('node:assert/strict');
const { createCluster } = require('redis');
const rounds = require('./rounds');

async function main() {
  const cluster = createCluster({ rootNodes: process.argv.slice(2).map((port) => ({ url: `redis://127.0.0.1:${port}` })) });
  cluster.on('error', (err) => console.error('node-redis:', err.message));
  await cluster.connect();
  assert.equal(cluster.masters.length, process.argv.length - 2);
  assert.equal(await cluster.set('session', 'data', { expiration: { type: 'EX', value: 3600 } }), 'OK');
  assert.ok((await cluster.ttl('session')) > 3590);
  assert.equal(await cluster.incr('n'), 1);
  assert.deepEqual(await cluster.mGet(['{t}a', '{t}b']), [null, null]);
  await rounds(cluster);
  await cluster.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
