// A web application with express-session and connect-redis as their manuals show them.
// Argument: the server's port, or the cluster ports of several nodes. Prints the address it listens on.
'use strict';

const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient, createCluster } = require('redis');

async function main() {
  const urls = process.argv.slice(2).map((port) => `redis://127.0.0.1:${port}`);
  const client = urls.length > 1
    ? createCluster({ rootNodes: urls.map((url) => ({ url })) })
    : createClient({ url: urls[0] });
  client.on('error', (err) => console.error('redis client:', err.message));
  await client.connect();

  const app = express();
  app.use(session({
    store: new RedisStore({ client }),
    secret: 'not a secret',
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 60 * 60 * 1000 },
  }));
  app.post('/login', (req, res, next) => {
    req.session.regenerate((err) => {
      if (err) return next(err);
      req.session.name = req.query.name;
      req.session.visits = 0;
      res.send(`hello ${req.session.name}`);
    });
  });
  app.get('/me', (req, res) => {
    if (!req.session.name) return res.send('nobody');
    req.session.visits++;
    res.send(`${req.session.name}, visit ${req.session.visits}`);
  });
  app.post('/logout', (req, res, next) => {
    req.session.destroy((err) => (err ? next(err) : res.send('goodbye')));
  });
  const listener = app.listen(0, '127.0.0.1', () => {
    console.log(`http://127.0.0.1:${listener.address().port}`);
  });
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
