package check

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// registerModel is a register for porcupine, which searches the orders of any model.
var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if a := input.(Access); a.Write {
			return true, a.Value
		}
		return output == state, state
	},
}

// TestLinearizableAgreesWithPorcupine holds the verdict on longer histories than a naive search
// manages against another's.
func TestLinearizableAgreesWithPorcupine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		accesses := drawAccesses(t, 8, 16)
		var operations []porcupine.Operation
		for i, a := range accesses {
			operations = append(operations, porcupine.Operation{
				ClientId: i, Input: a, Output: a.Value, Call: int64(a.Call), Return: int64(a.Return),
			})
		}
		err, possible := Linearizable(accesses), porcupine.CheckOperations(registerModel, operations)
		if (err == nil) != possible {
			t.Fatalf("%v\nporcupine: %t, verdict: %v", accesses, possible, err)
		}
	})
}

// drawAccesses lets a register be written and read, mostly as it may be: a read draws from the values
// whose writes it can overlap or follow.
func drawAccesses(t *rapid.T, writes, reads int) []Access {
	var accesses []Access
	now := time.Duration(0)
	span := func(most int) (call, end time.Duration) {
		call = now + time.Duration(rapid.IntRange(0, 3).Draw(t, "gap"))
		return call, call + time.Duration(rapid.IntRange(1, most).Draw(t, "length"))
	}
	values := []string{""}
	for n := range writes {
		value := string(rune('a' + n))
		call, end := span(12)
		now = call + 3
		values = append(values, value)
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			end = forever
		}
		accesses = append(accesses, Access{true, value, call, end})
		for range rapid.IntRange(0, reads/writes).Draw(t, "reads") {
			call, end := span(6)
			recent := values[max(0, len(values)-2):]
			accesses = append(accesses, Access{false, rapid.SampledFrom(recent).Draw(t, "value"), call, end})
		}
	}
	return accesses
}
