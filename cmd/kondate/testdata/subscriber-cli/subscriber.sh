#!/bin/sh
# Prints the body of each allergen result of a tenant's menus, one a line. Run it: NATS_URL=nats://127.0.0.1:4222 sh subscriber.sh
# The nats command reads NATS_URL, NATS_CREDS and NATS_NKEY by itself. A consumer that is named in CONSUMER is there already.
set -u
consumer=${CONSUMER:-team-example-cli} # the broker keeps our place under this name
until [ -n "${CONSUMER:-}" ] || nats consumer info MENU_EVENTS "$consumer" >/dev/null 2>&1 ||
	nats consumer add MENU_EVENTS "$consumer" --pull --deliver all --ack explicit --defaults \
		--filter "menu.evt.${TENANT:-public}.*.allergen.completed" >/dev/null; do
	sleep 1 # the broker is away
done
while :; do
	# It acks what it has printed; without a message within the time it fails.
	nats --timeout 5s consumer next MENU_EVENTS "$consumer" --raw 2>/dev/null || sleep 1
done
