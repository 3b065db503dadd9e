package main

// sizes are the numbers of things in each section.
type sizes struct {
	levels        []int // requests in flight
	requests      []int // requests of each round, by level
	rounds        int   // turns of each design
	warmup        int   // requests before the first measured one
	polled        []int // requests of the polling design, by level
	hot           []int // concurrent requests for one owner
	claims        int   // claims for many owners
	workers       int   // of those at the same time
	costs         int   // requests that are counted
	stocks        []int // packages in stock
	stockClaims   int   // claims at each stock
	backlog       int   // pending deliveries of others
	backlogTimes  int   // claims and deliveries beside them
	stale         []int // deliveries to expire
	coldStarts    int
	concurrencies []int // requests that one instance works on at a time
	concurrent    int   // requests at each of them
	served        int   // requests before the memory is looked at again
	benchtime     string
}

var full = sizes{
	levels:        []int{1, 10, 100},
	requests:      []int{100, 200, 400},
	rounds:        3,
	warmup:        100,
	polled:        []int{60, 200},
	hot:           []int{1, 10, 50, 200},
	claims:        200,
	workers:       20,
	costs:         20,
	stocks:        []int{10, 100, 1_000, 10_000},
	stockClaims:   100,
	backlog:       100_000,
	backlogTimes:  100,
	stale:         []int{1_000, 10_000, 100_000},
	coldStarts:    10,
	concurrencies: []int{1, 5, 20, 80, 200},
	concurrent:    400,
	served:        10_000,
	benchtime:     "1s",
}

var short = sizes{
	levels:        []int{1, 10},
	requests:      []int{5, 20},
	rounds:        1,
	warmup:        5,
	polled:        []int{10, 10},
	hot:           []int{1, 10},
	claims:        20,
	workers:       5,
	costs:         3,
	stocks:        []int{10, 100},
	stockClaims:   5,
	backlog:       500,
	backlogTimes:  5,
	stale:         []int{100, 500},
	coldStarts:    1,
	concurrencies: []int{1, 5},
	concurrent:    10,
	served:        50,
	benchtime:     "1x",
}
