// Package compat holds the black-box tests of what Redis clients depend on: they start Cartwheel
// as a process, speak to it over TCP as its users do, and compare it with a real redis-server.
// It imports nothing of Cartwheel's own but bench/proc, and exports nothing.
//
// The groups, each with its own files:
//
//   - same replies: random and fixed conversations with redis-server and Cartwheel at once, compared
//     byte for byte (replies_test.go and the generators in gen_*_test.go, errors_test.go, protocol_test.go);
//     what may differ is listed in accepted_test.go
//   - sessions: HELLO, AUTH, RESET, CLIENT and the end of connections (session_test.go)
//   - clients: real client programs and libraries at their default options (clients_*_test.go, and
//     testdata/clients)
//   - versions: the conversation of VGET, VSET and VDEL (versions_test.go)
//   - durability: kill -9 under writers, and a count of what was acknowledged (durability_test.go)
//   - abuse: hostile and careless clients, and the service of the others meanwhile (abuse_test.go); full,
//     corrupt and unusable disks (disk_test.go, disk_linux_test.go)
//
// COMPAT_SUBJECT=redis puts a second redis-server where Cartwheel belongs: every test must pass then too,
// which proves the tests; those of what Redis has not are skipped. CI_FORBID_SKIP=1 turns a skip for want of
// a tool into a failure. What is random comes from -seed, which every run prints.
package compat
