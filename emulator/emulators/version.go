package emulators

import (
	"regexp"
	"slices"
	"strconv"
)

var number = regexp.MustCompile(`\d+`)

// compareVersions orders file names by the numbers in them, so that 1.19.10 is newer than 1.19.9.
func compareVersions(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(name string) []int {
	var out []int
	for _, digits := range number.FindAllString(name, -1) {
		n, err := strconv.Atoi(digits)
		if err != nil {
			continue // more digits than any version has
		}
		out = append(out, n)
	}
	return out
}
