# A static binary in an empty image, run by nobody in particular.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/cartwheel ./cmd/cartwheel \
	&& mkdir /out/data

FROM scratch
COPY --from=build /out/cartwheel /cartwheel
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 6379 7379/tcp 7379/udp
ENV CARTWHEEL_LISTEN=0.0.0.0:6379 CARTWHEEL_DATA=/data
# SIGTERM, the default, stops it cleanly.
HEALTHCHECK --interval=5s --timeout=3s CMD ["/cartwheel", "ping"]
ENTRYPOINT ["/cartwheel"]
CMD ["serve"]
