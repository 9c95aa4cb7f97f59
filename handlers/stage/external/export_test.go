package external

import "kondate/domain/menu"

// ReadReply decodes a reply and holds its results against the schema of a stage.
func ReadReply(s menu.Stage, raw []byte) ([]menu.Result, error) {
	r, err := decodeReply(raw)
	if err != nil {
		return nil, err
	}
	var list []menu.Result
	for _, d := range r.results {
		result, err := d.check(s)
		if err != nil {
			return nil, err
		}
		list = append(list, result)
	}
	return list, nil
}
