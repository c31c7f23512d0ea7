// Package sim is the simulator: a whole cluster and its clients in one process, on
// a clock, a network and disks of its own, with faults that one seed decides. It is
// all tests. What runs in it are the product's own server, coordinator and store; it
// models only what is around them.
package sim
