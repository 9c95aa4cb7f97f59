// Package stage runs the eight stages that every dish goes through.
//
// An [Engine] reads two durable consumers for each stage with Watermill's router. A delivery is one chunk of a
// submitted menu, a request to retry parked dishes, or a failed attempt whose next one is due. The engine asks the stage's [Provider] for each dish that has
// no answer yet and records the outcomes that are ready together as one event; the delivery is acknowledged once every
// answer is in the log.
//
// What makes it hold:
//   - The log decides. A redelivery first folds what the stage has recorded and works only on what is open, so a crash
//     repeats at most the calls that were running. Attempts are counted in events: a crash, a deploy or a slow
//     acknowledgement uses none up.
//   - The first terminal answer of a dish, stage and epoch wins in the fold: working twice on a delivery changes nothing.
//   - A dish ends in exactly one of two ways: a result, or parked with its reason. A temporary failure is recorded with
//     the time of the next attempt; until then it waits on a schedule of the broker and takes up no place in the stage.
//   - A provider that is down, or asks for a pause, uses up no attempts: its dishes go back to the broker meanwhile.
//   - Sessions take turns in the slots of a stage, dish by dish, so that a long menu does not hold up a short one.
package stage
