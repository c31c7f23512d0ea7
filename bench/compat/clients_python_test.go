package compat

import (
	"os/exec"
	"strconv"
	"testing"
)

func TestPythonRedis(t *testing.T) {
	need(t, "python3-redis")
	s := startSubject(t, settings{})
	out, err := exec.CommandContext(t.Context(), python(), clientsDir+"/python/session.py", strconv.Itoa(s.Port)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
