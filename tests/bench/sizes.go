package main

import "time"

// sizes are the numbers of things in each section.
type sizes struct {
	distances  []time.Duration // round-trip times of Firestore
	paths      []pathSize
	warmup     int   // requests of each design before the first measured one
	hot        []int // concurrent requests for one owner; the last also over several instances
	instances  []int
	claims     int           // claims for many owners
	workers    int           // of those at the same time
	rate       int           // the first rate of the open loop, requests a second; the next is twice that
	offered    time.Duration // how long each rate is offered
	costs      int           // owners whose requests are counted
	stocks     []int         // sizes of a stock
	coldStarts int
	served     int // requests after which memory and CPU are looked at
}

// pathSize is one measurement of the path. The functions wait for the Pub/Sub emulator, and a poll for its second: they make
// fewer requests in each round than what takes milliseconds.
type pathSize struct {
	rtt                       time.Duration
	inFlight, rounds          int
	functions, others, polled int // requests of each round
}

// region is what a call to Firestore is assumed to take on its way within a region, there and back.
const region = 8 * time.Millisecond

var full = sizes{
	distances: []time.Duration{0, region},
	paths: []pathSize{
		{0, 1, 2, 50, 150, 20}, {0, 10, 2, 100, 200, 0}, {0, 100, 1, 300, 400, 0},
		{region, 1, 2, 50, 150, 0}, {region, 10, 2, 100, 200, 0},
	},
	warmup:     50,
	hot:        []int{1, 10, 50, 200},
	instances:  []int{2, 8, 20},
	claims:     200,
	workers:    20,
	rate:       100,
	offered:    4 * time.Second,
	costs:      4,
	stocks:     []int{5, 10, 20, 50, 100, 200},
	coldStarts: 5,
	served:     1_000,
}

var short = sizes{
	distances:  []time.Duration{region},
	paths:      []pathSize{{0, 1, 1, 5, 5, 3}, {region, 10, 1, 20, 20, 0}},
	warmup:     5,
	hot:        []int{1, 10},
	instances:  []int{2},
	claims:     20,
	workers:    5,
	rate:       500,
	offered:    100 * time.Millisecond,
	costs:      1,
	stocks:     []int{5, 20},
	coldStarts: 1,
	served:     50,
}
