package compat

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestGoRedis(t *testing.T) {
	s := startSubject(t, settings{})
	for _, protocol := range []int{0, 2} { // 0 is its default
		t.Run("protocol "+strconv.Itoa(protocol), func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: protocol})
			defer client.Close()
			useGoRedis(t, t.Context(), client)
		})
	}
}

func TestGoRedisWithPasswordNameAndDatabase(t *testing.T) {
	const password = "p4ss word"
	s := startSubject(t, settings{password: password})
	client := redis.NewClient(&redis.Options{Addr: s.Addr, Password: password, ClientName: "tester", DB: 4})
	defer client.Close()
	useGoRedis(t, t.Context(), client)
	if name, err := client.ClientGetName(t.Context()).Result(); err != nil || name != "tester" {
		t.Errorf("name %q, %v", name, err)
	}
	refused := redis.NewClient(&redis.Options{Addr: s.Addr, Password: "wrong", MaxRetries: -1})
	defer refused.Close()
	if err := refused.Ping(t.Context()).Err(); err == nil {
		t.Error("a wrong password is let in")
	}
}

// useGoRedis does what a web application does with sessions, counters, locks and a cache.
func useGoRedis(t *testing.T, ctx context.Context, client *redis.Client) {
	t.Helper()
	must := func(what string, ok bool, err error) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	must("flush", true, client.FlushDB(ctx).Err())
	must("set", true, client.Set(ctx, "session", "data\r\n\x00", time.Hour).Err())
	value, err := client.Get(ctx, "session").Result()
	must("get", value == "data\r\n\x00", err)
	ttl, err := client.TTL(ctx, "session").Result()
	must("ttl", ttl > 59*time.Minute && ttl <= time.Hour, err)
	if _, err := client.Get(ctx, "nothing").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("get of nothing: %v", err)
	}
	locked, err := client.SetNX(ctx, "lock", "me", time.Minute).Result()
	must("lock", locked, err)
	locked, err = client.SetNX(ctx, "lock", "you", time.Minute).Result()
	must("second lock", !locked, err)
	old, err := client.SetArgs(ctx, "lock", "you", redis.SetArgs{Get: true, KeepTTL: true}).Result()
	must("set get", old == "me", err)
	count, err := client.IncrBy(ctx, "count", 5).Result()
	must("incrby", count == 5, err)
	float, err := client.IncrByFloat(ctx, "float", 1.5).Result()
	must("incrbyfloat", float == 1.5, err)
	many, err := client.MGet(ctx, "count", "nothing").Result()
	must("mget", len(many) == 2 && many[0] == "5" && many[1] == nil, err)

	results, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 500 {
			p.Set(ctx, "p"+strconv.Itoa(i), i, 0)
			p.Get(ctx, "p"+strconv.Itoa(i))
		}
		return nil
	})
	must("pipeline", len(results) == 1000, err)
	seen := map[string]bool{}
	for keys := client.Scan(ctx, 0, "p*", 50).Iterator(); keys.Next(ctx); {
		seen[keys.Val()] = true
	}
	must("scan", len(seen) == 500, nil)
	size, err := client.DBSize(ctx).Result()
	must("dbsize", size == 504, err)
	deleted, err := client.Del(ctx, "session", "nothing").Result()
	must("del", deleted == 1, err)
	info, err := client.Info(ctx, "server").Result()
	must("info", info != "", err)
	config, err := client.ConfigGet(ctx, "databases").Result()
	must("config get", config["databases"] == "16", err)
	if err := client.Do(ctx, "NOSUCH").Err(); err == nil {
		t.Error("an unknown command is no error")
	}
	commands, err := client.Command(ctx).Result()
	must("command", commands["get"] != nil && commands["get"].Arity == 2 && commands["get"].ReadOnly, err)
}
