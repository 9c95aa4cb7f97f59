package menu

import "fmt"

// Stage is one of the eight processing steps that every dish goes through. Its text is the name of its lane.
type Stage uint8

// The eight stages. Task6 to Task8 are the operator's free slots.
const (
	Translation Stage = iota
	Description
	Allergen
	Ingredient
	SearchEngine
	Task6
	Task7
	Task8
)

// StageCount is the number of stages.
const StageCount = 8

// Stages returns all stages in their order.
func Stages() [StageCount]Stage {
	return [StageCount]Stage{Translation, Description, Allergen, Ingredient, SearchEngine, Task6, Task7, Task8}
}

// ParseStage returns the stage of a lane's name.
func ParseStage(name string) (Stage, error) {
	for _, s := range Stages() {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("there is no stage %q: choose among %v", name, Stages())
}

// String returns the stage's name, the same everywhere: lane, consumer, URL, command line.
func (s Stage) String() string {
	switch s {
	case Translation:
		return "translation"
	case Description:
		return "description"
	case Allergen:
		return "allergen"
	case Ingredient:
		return "ingredient"
	case SearchEngine:
		return "search_engine"
	case Task6:
		return "task6"
	case Task7:
		return "task7"
	case Task8:
		return "task8"
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// Lane returns the lane on which the stage answers.
func (s Stage) Lane() Lane { return Lane(s.String()) }

// MarshalText returns the stage's name; it fails for a value that is no stage.
func (s Stage) MarshalText() ([]byte, error) {
	if s >= StageCount {
		return nil, fmt.Errorf("there is no stage number %d", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText accepts a stage's name.
func (s *Stage) UnmarshalText(text []byte) error {
	parsed, err := ParseStage(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
