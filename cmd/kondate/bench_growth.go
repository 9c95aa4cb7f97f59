package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kondate/handlers/sse/load"
	"kondate/streams"
)

type benchGrowthCommand struct {
	Dishes   []int  `default:"100,1000,10000,100000" help:"How many dishes there are at each measurement."`
	Menu     int    `default:"100" help:"Dishes of a menu. Each menu takes ten events and ten subjects of the log, one more event for each further processing.batch_size of dishes."`
	Long     int    `default:"10000" help:"Dishes of one long menu at the end, on top of the others; 0: none."`
	Provider string `default:"local" enum:"local,no-op" help:"Who answers: local, or no-op, which costs nothing."`
	NATSSync string `name:"nats-sync" default:"always" help:"nats.sync of the server."`
	DataDir  string `placeholder:"DIR" help:"Folder on the disk to measure on: a folder is made in it, and removed. Empty: the system's temporary one." type:"path"`
	JSON     bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (benchGrowthCommand) Help() string {
	return "A server of its own takes in menus until it has as many dishes as a measurement wants. Then it says what they take: bytes of the log and of each table, " +
		"messages, subjects, memory, processor time. Then it is stopped and started again, the broker also alone. And what depends on how much there is, is timed: an append, " +
		"the stream and the load of one old session, a rebuild, a verification.\n\n" +
		"The last column is what the last million of dishes would take, by the step to the largest size; GROWTH how much more a dish costs there than in the step before (1: linear).\n\n" +
		"A million dishes take about 20 GiB of disk and the better part of an hour on two cores; a thousand for each step of --dishes, at least, is needed for figures that mean something.\n\n" +
		"Examples:\n  kondate bench growth --dishes 1000,10000\n  kondate bench growth --dishes 100,1000,10000,100000,1000000 --nats-sync 100ms\n" +
		"  kondate bench growth --dishes 1000,10000,100000 --menu 1 --long 0      # 10,000 to 1,000,000 events"
}

// Validate refuses what could not be measured. kong calls it.
func (c benchGrowthCommand) Validate() error {
	if len(c.Dishes) == 0 || !slices.IsSorted(c.Dishes) {
		return errors.New("--dishes are sizes that grow, like 100,1000,10000")
	}
	if c.Menu < 1 || c.Menu > maxMenu || c.Long < 0 || c.Long > maxMenu {
		return fmt.Errorf("a menu has 1 to %d dishes", maxMenu)
	}
	before := 0
	for _, dishes := range c.Dishes {
		if dishes-before < c.Menu {
			return fmt.Errorf("from %d to %d dishes is less than a menu of %d: choose larger steps or a smaller --menu", before, dishes, c.Menu)
		}
		before = dishes
	}
	_, err := streams.ParseSync(c.NATSSync)
	return err
}

const (
	// maxMenu is the size of the longest menu that a submission may have.
	maxMenu = 10_000
	// dishesInFlight bounds what is submitted and not yet completed, so that the measurement does not outrun the server.
	dishesInFlight = 5000
)

// grown is a server that is measured while it grows.
type grown struct {
	*benched

	dishes, menus int
	session       string // of the first menu
	stream        string // URL of its stream
}

// Run measures.
func (c benchGrowthCommand) Run(ctx context.Context, env environment) (err error) {
	g := &grown{benched: &benched{env: env, sync: c.NATSSync, roles: allRoles(), noop: c.Provider == providerNoop, Server: &load.Server{}}}
	defer func() { err = errors.Join(err, g.stop(ctx)) }()
	if err := g.startOwn(ctx, c.DataDir); err != nil {
		return err
	}
	var sizes []growth
	for _, dishes := range c.Dishes {
		fmt.Fprintf(env.stderr, "%d dishes …\n", dishes)
		menus := (dishes - g.dishes + c.Menu - 1) / c.Menu
		size, err := g.step(ctx, menus, c.Menu)
		if err != nil {
			return fmt.Errorf("grow to %d dishes: %w", dishes, err)
		}
		sizes = append(sizes, size)
	}
	var long *longMenu
	if c.Long > 0 {
		fmt.Fprintf(env.stderr, "a menu of %d dishes …\n", c.Long)
		var s spent
		if s, err = g.submit(ctx, 1, c.Long); err != nil {
			return fmt.Errorf("measure a long menu: %w", err)
		}
		long = &longMenu{Dishes: c.Long, spent: s}
	}
	if c.JSON {
		return printJSON(env.stdout, map[string]any{"menu": c.Menu, "provider": c.Provider, "nats_sync": c.NATSSync, "sizes": sizes, "long_menu": long})
	}
	return printGrowth(env.stdout, sizes, long)
}

// spent is what some menus took.
type spent struct {
	Seconds     float64 `json:"seconds"`             // from the first POST to the last menu.completed in the log
	ProgramCPU  float64 `json:"program_cpu_seconds"` // with its broker
	PostgresCPU float64 `json:"postgres_cpu_seconds"`
}

// longMenu is one menu on top of all others.
type longMenu struct {
	Dishes int `json:"dishes"`

	spent
}

// submit adds menus and waits until all are completed.
func (g *grown) submit(ctx context.Context, menus, size int) (s spent, err error) {
	body, err := sampleBody(size)
	if err != nil {
		return s, err
	}
	program, postgres := load.CPU(g.PID)
	cl := g.client()
	if g.session == "" {
		// The first session is the one that is read again at every size.
		answer, err := cl.submit(ctx, body)
		if err == nil {
			g.session, g.stream = answer.SessionID, answer.StreamURL
			err = readStream(ctx, cl, answer.StreamURL, func(frame) error { return nil })
		}
		if err != nil {
			return s, err
		}
		menus--
		g.dishes, g.menus = g.dishes+size, g.menus+1
	}
	took, err := g.submitMany(ctx, cl, body, menus, max(1, dishesInFlight/size))
	g.dishes, g.menus = g.dishes+menus*size, g.menus+menus
	programNow, postgresNow := load.CPU(g.PID)
	return spent{took.Seconds(), (programNow - program).Seconds(), (postgresNow - postgres).Seconds()}, err
}
