package eventstore_test

import (
	"testing"

	"kondate/eventstore"
	"kondate/eventstore/storetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Store { return eventstore.NewMemory(storetest.MaxEventSize) })
}
