package access_test

import (
	"errors"
	"fmt"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/access"
)

// A token opens one session until it expires.
func ExampleTokens() {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	tokens, err := access.NewTokens([]byte("0123456789abcdef0123456789abcdef"), 2*time.Hour, func() time.Time { return now })
	if err != nil {
		fmt.Println(err)
		return
	}
	token := tokens.Sign(menu.Key{Tenant: "izakaya", Session: "s1"})
	fmt.Println(tokens.Verify(token))
	now = now.Add(2 * time.Hour)
	_, err = tokens.Verify(token)
	fmt.Println(errors.Is(err, access.ErrTokenExpired))
	// Output:
	// izakaya/s1 <nil>
	// true
}
