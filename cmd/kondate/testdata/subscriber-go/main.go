// Prints each allergen result of a tenant's menus, and which menus were erased. Run it: NATS_URL=nats://127.0.0.1:4222 go run .
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Completed is as much of the body of allergen.completed as this program reads. Versions 1 and 2 have it alike.
type Completed struct {
	Results []struct {
		MenuID string `json:"menu_id"`
		Result struct {
			Status string `json:"status"`
			Data   struct {
				Allergens []struct{ Code, Level string } `json:"allergens"`
			} `json:"data"` // null where nothing was found, which never means safe
		} `json:"result"`
	} `json:"results"`
}

// handle does what the message asks for. It may come twice: what is derived from it must not change by that.
func handle(m jetstream.Msg) error {
	h := m.Headers()
	session := h.Get("ce-source")[strings.LastIndexByte(h.Get("ce-source"), '/')+1:]
	switch version := h.Get("Kondate-Schema"); {
	case h.Get("ce-type") == "menu.erased": // delete what you hold of the session
		fmt.Println("erased", session)
	case h.Get("ce-type") != "allergen.completed": // not what this program is about, or a type that it does not know
	case version != "1" && version != "2": // a newer program wrote it
		log.Print("passed over: a result of version ", version)
	default:
		var body Completed
		if err := json.Unmarshal(m.Data(), &body); err != nil {
			return err
		}
		for _, r := range body.Results {
			found := []string{}
			for _, a := range r.Result.Data.Allergens {
				found = append(found, a.Code+":"+a.Level)
			}
			fmt.Println(session, r.MenuID, r.Result.Status, cmp.Or(strings.Join(found, ","), "?"))
		}
	}
	return nil
}

// read handles and acks what comes within a few seconds.
func read(c jetstream.Consumer) error {
	batch, err := c.Fetch(100, jetstream.FetchMaxWait(5*time.Second), jetstream.FetchHeartbeat(time.Second))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		if err := handle(m); err != nil {
			log.Print("not readable, set aside: ", err) // it would be the same next time
			_ = m.TermWithReason(err.Error())
			continue
		}
		_ = m.Ack() // after the work; a lost ack brings the message again
	}
	return batch.Error()
}

// open returns the durable consumer under whose name the broker keeps our place. It is made if it is not there.
func open(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	name := cmp.Or(os.Getenv("CONSUMER"), "team-example-go")
	c, err := js.Consumer(ctx, "MENU_EVENTS", name)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return c, err
	}
	tenant := cmp.Or(os.Getenv("TENANT"), "public")
	return js.CreateConsumer(ctx, "MENU_EVENTS", jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckExplicitPolicy,
		FilterSubjects: []string{"menu.evt." + tenant + ".*.allergen.completed", "menu.evt." + tenant + ".*.menu.erased"},
	})
}

func connect() (jetstream.JetStream, error) {
	options := []nats.Option{nats.Name("team-example"), nats.MaxReconnects(-1)}
	if file := os.Getenv("NATS_CREDS"); file != "" {
		options = append(options, nats.UserCredentials(file))
	}
	if file := os.Getenv("NATS_NKEY"); file != "" {
		key, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return nil, err
		}
		options = append(options, key)
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"), options...)
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	js, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	c, err := open(ctx, js)
	if err != nil {
		log.Fatal(err)
	}
	for ctx.Err() == nil {
		if err := read(c); err != nil { // the broker is away: the client connects again by itself
			log.Print(err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	js.Conn().Close()
}
