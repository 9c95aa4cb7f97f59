package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// ByteSize is a number of bytes, written as 1048576, 1MiB or 1MB.
type ByteSize int64

// UnmarshalText accepts a number with or without a unit.
func (b *ByteSize) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is no size: write it like 1048576, 1MiB or 20GB", text)
	}
	*b = ByteSize(n)
	return nil
}
