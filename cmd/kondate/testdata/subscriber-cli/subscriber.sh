#!/bin/sh
# Prints the body of each allergen result of a tenant's menus, one a line. Run it: NATS_URL=nats://127.0.0.1:4222 sh subscriber.sh
# The nats command reads NATS_URL and NATS_CREDS by itself.
set -u
durable=team-example-cli # the broker keeps its place under this name
until nats consumer info MENU_EVENTS "$durable" >/dev/null 2>&1 ||
	nats consumer add MENU_EVENTS "$durable" --pull --deliver all --ack explicit --defaults \
		--filter "menu.evt.${TENANT:-public}.*.allergen.completed" >/dev/null; do
	sleep 1 # the broker is away
done
while :; do
	# It acks what it has printed; without a message within the time it fails.
	nats --timeout 5s consumer next MENU_EVENTS "$durable" --raw 2>/dev/null || sleep 1
done
