package server_test

import "testing"

func TestCountersCountAndKeepTheirExpiry(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET n 10 EX 100
+OK
> INCR n
:11
> DECR n
:10
> INCRBY n -5
:5
> DECRBY n 21
:-16
> TTL n
:100
> DECR new
:-1
> TTL new
:-1`)
}

func TestCountersDoNotOverflow(t *testing.T) {
	connect(t).talk(`
> SET n 9223372036854775807
+OK
> INCR n
-ERR increment or decrement would overflow
> DECRBY n -1
-ERR increment or decrement would overflow
> DECRBY n -9223372036854775808
-ERR decrement would overflow
> INCRBY n 9223372036854775808
-ERR value is not an integer or out of range
> GET n
$19
9223372036854775807
> INCRBY n -9223372036854775808
:-1
> SET n -9223372036854775808
+OK
> DECR n
-ERR increment or decrement would overflow`)
}

func TestOnlyCanonicalIntegersAreCounted(t *testing.T) {
	c := connect(t)
	for _, text := range []string{"", " 1", "1 ", "01", "+1", "-0", "1.0", "1e3", "0x1", "9223372036854775808", "1\x00"} {
		c.expect("+OK\r\n", "SET", "n", text)
		c.expect("-ERR value is not an integer or out of range\r\n", "INCR", "n")
		c.expect("-ERR value is not an integer or out of range\r\n", "INCRBY", "one", text)
		if got := c.text("GET", "n"); got != text {
			t.Errorf("a refused INCR turned %q into %q", text, got)
		}
	}
}

func TestFloatsAreCountedAsRedisCountsThem(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET f 10.50 EX 100
+OK
> INCRBYFLOAT f 0.1
$4
10.6
> INCRBYFLOAT f -5
$3
5.6
> TTL f
:100
> SET f 5.0e3
+OK
> INCRBYFLOAT f 2.0e2
$4
5200
> INCRBYFLOAT new 0.1
$3
0.1
> INCRBYFLOAT new 0.2
$3
0.3
> INCRBYFLOAT f inf
-ERR increment would produce NaN or Infinity
> INCRBYFLOAT f abc
-ERR value is not a valid float
> INCRBYFLOAT f " 1"
-ERR value is not a valid float
> SET f x
+OK
> INCRBYFLOAT f 1
-ERR value is not a valid float
> GET f
$1
x`)
}
