package main

import "time"

// sizes are the numbers of things in each section.
type sizes struct {
	distances []time.Duration // round-trip times of Firestore
	paths     []pathSize
	warmup    int           // requests of each design before the first measured one
	claims    []offered     // those at several instances are compared with the last at one
	rate      int           // the first rate of the open loop, requests a second; the next is twice that
	offered   time.Duration // how long each rate is offered
	costs     int           // owners whose requests are counted
	stocks    []int         // sizes of a stock
	served    int           // requests after which memory and CPU are looked at
}

// pathSize is one measurement of the path, with the requests of each round by design: functions, gateway by 447 and by REQ,
// least, polling. The functions wait for the Pub/Sub emulator, and a poll for its second, so they make fewer.
type pathSize struct {
	rtt              time.Duration
	inFlight, rounds int
	requests         [5]int
}

// region is what a call to Firestore is assumed to take on its way within a region, there and back.
const region = 8 * time.Millisecond

var fullSizes = sizes{
	distances: []time.Duration{0, region},
	paths: []pathSize{
		{0, 1, 2, [5]int{50, 150, 150, 150, 20}}, {0, 10, 2, [5]int{100, 200, 200, 200, 0}},
		{0, 100, 1, [5]int{300, 400, 400, 400, 0}},
		{region, 1, 2, [5]int{50, 150, 150, 150, 0}}, {region, 10, 2, [5]int{100, 200, 200, 200, 0}},
	},
	claims: []offered{
		{200, 1, 20, 1}, {1, 1, 1, 1}, {1, 10, 10, 1}, {1, 50, 50, 1}, {1, 200, 200, 1}, {1, 200, 200, 2}, {1, 200, 200, 8}, {1, 200, 200, 20},
	},
	warmup: 50, rate: 100, offered: 4 * time.Second, costs: 4, stocks: []int{5, 10, 20, 50, 100, 200}, served: 1_000,
}

var shortSizes = sizes{
	distances: []time.Duration{region},
	paths:     []pathSize{{0, 1, 1, [5]int{5, 5, 5, 5, 3}}, {region, 10, 1, [5]int{20, 20, 20, 20, 0}}},
	claims:    []offered{{20, 1, 5, 1}, {1, 10, 10, 1}, {1, 10, 10, 2}},
	warmup:    5, rate: 500, offered: 100 * time.Millisecond, costs: 1, stocks: []int{5, 20}, served: 50,
}
