package deploy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// filters reads the strings of metrics.tf's locals, with what they refer to put in.
func filters(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, match := range regexp.MustCompile(`(?m)^  (\w+)\s+= ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(terraform(t, "metrics.tf"), -1) {
		text, err := strconv.Unquote(match[2])
		if err != nil {
			t.Fatal(err)
		}
		found[match[1]] = text
	}
	reference := regexp.MustCompile(`\$\{local\.(\w+)\}`)
	for range found { // as often as references can be nested
		for name, text := range found {
			found[name] = reference.ReplaceAllStringFunc(text, func(r string) string {
				return found[reference.FindStringSubmatch(r)[1]]
			})
		}
	}
	return found
}

// term is one comparison of a filter. Only what metrics.tf uses is understood, of
// https://cloud.google.com/logging/docs/view/logging-query-language.
var term = regexp.MustCompile(`^(NOT )?([\w.]+)(=|:|>=|>)(.+)$`)

// matches applies a filter to a line as Cloud Logging keeps it.
func matches(t *testing.T, filter string, line logLine) bool {
	t.Helper()
	for _, text := range strings.Split(filter, " AND ") {
		parts := term.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("this test does not understand %q of the filter %q", text, filter)
		}
		if compare(t, lookUp(line, parts[2]), parts[3], parts[4]) == (parts[1] != "") {
			return false
		}
	}
	return true
}

func compare(t *testing.T, value any, operator, operand string) bool {
	t.Helper()
	number, isNumber := value.(float64)
	switch operator {
	case ":":
		if operand != "*" {
			t.Fatalf("%q is not understood behind a colon", operand)
		}
		return value != nil
	case "=":
		text, _ := value.(string)
		return slices.Contains(strings.Split(strings.Trim(operand, "()"), " OR "), strconv.Quote(text))
	}
	bound, err := strconv.ParseFloat(operand, 64)
	if err != nil {
		t.Fatal(err)
	}
	return isNumber && (number > bound || operator == ">=" && number == bound)
}

// lookUp returns a field as Cloud Logging names it, or nil.
func lookUp(line logLine, path string) any {
	if path == "resource.type" {
		return "cloud_run_revision"
	}
	field, ok := strings.CutPrefix(path, "jsonPayload.")
	if !ok {
		field = strings.Replace(path, "labels.", "logging.googleapis.com/labels\x00", 1)
	} else {
		field = strings.ReplaceAll(field, ".", "\x00")
	}
	var value any = map[string]any(line)
	for _, name := range strings.Split(field, "\x00") {
		group, _ := value.(map[string]any)
		value = group[name]
	}
	return value
}
