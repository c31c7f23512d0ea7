// Package command is the table of all commands: for each its name, arity, flags, key positions, ACL
// categories and docs. The one table drives dispatch, COMMAND, COMMAND DOCS and the tests, so that
// what is documented is what is served.
//
// It does not run commands, parse their options, or know a connection: dispatch in package server
// looks a name up here and finds its own code by the command's ID.
//
// The table is commands.json, which is generated and never edited: gen asks a Redis 7.0 for its
// COMMAND and COMMAND DOCS, keeps the commands named in gen/include.txt, raises them to Redis
// 7.2 with gen/redis72.json and adds our own from gen/cartwheel.json. To add a command, name it or
// write it there, start a redis-server 7.0 on its usual port, and run go generate. The docs that
// come from Redis are under the licence in LICENSE.redis.
package command

//go:generate go run ./gen -server 127.0.0.1:6379 -out commands.json
