// What the scripts for clusters share. Each line of standard input is the name of a round: the
// application writes keys in every part of the ring and reads them and those of all earlier rounds
// back, and then says "done". Within a round, an operation that fails is tried again as an
// application would, for at most 20 seconds.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const KEYS = 200;
const patienceMS = 20000;

async function persist(what, operation) {
  for (const since = Date.now(); ;) {
    try {
      return await operation();
    } catch (err) {
      if (Date.now() - since > patienceMS) throw new Error(`${what}: ${err.message}`, { cause: err });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// client has set(key, value) and get(key), which give promises.
async function rounds(client) {
  const names = [];
  console.log('ready');
  for await (const name of readline.createInterface({ input: process.stdin })) {
    const keys = Array.from({ length: KEYS }, (_, i) => i);
    await Promise.all(keys.map((i) => persist(`set in ${name}`, () => client.set(`${name}:${i}`, `${name} ${i}`))));
    names.push(name);
    for (const earlier of names) {
      const values = await Promise.all(keys.map((i) => persist(`get in ${name}`, () => client.get(`${earlier}:${i}`))));
      values.forEach((value, i) => assert.equal(value, `${earlier} ${i}`));
    }
    console.log(`done ${name}`);
  }
}

module.exports = rounds;
