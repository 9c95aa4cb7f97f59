package eventstore

import "kondate/domain/menu"

// EncodeBody is tested by itself: it has to be encoding/json, to the byte, also for events that have no id.
func EncodeBody(event menu.Event) ([]byte, error) { return encodeBody(event) }
