// A worker for the stage allergen that knows one ingredient. Run it: NATS_URL=nats://127.0.0.1:4222 go run .
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
)

type object map[string]any

func answer(id, name string) object {
	status, basis, completeness, confidence := "unknown", "none", "unknown", 0.0 // not a word about what we do not know
	allergens, jp := []object{}, []string{}
	if strings.Contains(name, "卵") {
		status, basis, completeness, confidence = "partial", "glossary", "name_only", 0.9
		allergens = append(allergens, object{"code": "egg", "level": "contains", "source_ingredient": "egg", "confidence": 0.9})
		jp = append(jp, "egg")
	}
	return object{"menu_id": id, "result": object{
		"stage": "allergen", "status": status, "provider": "example-go", "provider_version": "1", "basis": basis, "confidence": confidence,
		"data": object{
			"allergens": allergens, "by_standard": object{"jp": jp, "eu": []string{}, "us": []string{}}, "completeness": completeness,
			"declared_by_restaurant": []string{}, "ask_staff": object{"ja": "アレルゲンを教えてください。", "translated": "Please tell me the allergens."},
			"disclaimer": "Read from the name only. Ask the staff.",
		},
	}}
}

func serve(m *nats.Msg) {
	var request struct{ Items []map[string]any }
	body := object{"error": object{"reason": "bad_request", "permanent": true}}
	if json.Unmarshal(m.Data, &request) == nil {
		results := []object{}
		for _, i := range request.Items {
			results = append(results, answer(i["menu_id"].(string), i["name"].(string)))
		}
		body = object{"results": results}
	}
	reply := nats.NewMsg(m.Reply)
	reply.Header.Set("Kondate-Final", "1")
	reply.Data, _ = json.Marshal(body)
	_ = m.RespondMsg(reply) // a lost reply is asked for again
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err == nil {
		_, err = nc.QueueSubscribe("menu.work.*.allergen", "work-allergen", serve)
	}
	if err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	_ = nc.Drain() // what is at work is still answered
}
