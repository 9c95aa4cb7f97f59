# A static program in an image that holds nothing else: no shell, no package.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /rootfs/kondate ./cmd/kondate
# What the image holds besides: where HTTPS finds its authorities, time zones, and
# folders that belong to whom the program runs as. A new volume takes their owner.
RUN mkdir -p /rootfs/etc/ssl/certs /rootfs/usr/share && \
    cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ && \
    cp -r /usr/share/zoneinfo /rootfs/usr/share/ && \
    install -d -o 65532 -g 65532 -m 0711 /rootfs/var/lib/kondate && \
    install -d -o 65532 -g 65532 -m 0700 /rootfs/etc/kondate && \
    install -d -m 1777 /rootfs/tmp

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="kondate" \
      org.opencontainers.image.description="A menu goes in, eight results for every dish come out, each the moment it exists" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /rootfs/ /
USER 65532:65532
ENV KONDATE_DATA_DIR=/var/lib/kondate
EXPOSE 8080
# /readyz of the server in this container, at the address that it has written down.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/kondate", "ready"]
ENTRYPOINT ["/kondate"]
CMD ["serve"]
