package main

import "time"

// sizes are the numbers of things in each section.
type sizes struct {
	distances  []time.Duration // round-trip times of Firestore
	levels     []int           // requests in flight
	requests   []int           // requests of each round, by level
	rounds     int             // turns of each design
	warmup     int             // requests before the first measured one
	polled     int             // requests of each round of the design that polls, one at a time
	hot        []int           // concurrent requests for one owner; the last also over several instances
	instances  []int
	claims     int           // claims for many owners
	workers    int           // of those at the same time
	rate       int           // the first rate of the open loop, requests a second; the next is twice that
	offered    time.Duration // how long each rate is offered
	costs      int           // requests that are counted
	coldStarts int
	served     int // requests after which memory and CPU are looked at
}

// region is what a call to Firestore is assumed to take on its way within a region, there and back.
const region = 8 * time.Millisecond

var full = sizes{
	distances:  []time.Duration{0, region},
	levels:     []int{1, 10, 100},
	requests:   []int{100, 200, 400},
	rounds:     3,
	warmup:     100,
	polled:     20,
	hot:        []int{1, 10, 50, 200},
	instances:  []int{2, 8, 20},
	claims:     200,
	workers:    20,
	rate:       25,
	offered:    5 * time.Second,
	costs:      10,
	coldStarts: 10,
	served:     1_000,
}

var short = sizes{
	distances:  []time.Duration{region},
	levels:     []int{1, 10},
	requests:   []int{5, 20},
	rounds:     1,
	warmup:     5,
	polled:     3,
	hot:        []int{1, 10},
	instances:  []int{2},
	claims:     20,
	workers:    5,
	rate:       500,
	offered:    100 * time.Millisecond,
	costs:      2,
	coldStarts: 1,
	served:     50,
}
