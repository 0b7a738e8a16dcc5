# syntax=docker/dockerfile:1
# The program alone, on an image without shell or package manager, as a user without rights.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist -p chatsphere \
    && install -D target/dist/chatsphere /out/chatsphere \
    && install -d -m 0700 /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/chatsphere /usr/local/bin/chatsphere
# A new volume takes over owner and mode of the directory that it covers.
COPY --from=build --chown=65532:65532 /out/data /data
ENV CHATSPHERE_DATA_DIR=/data \
    CHATSPHERE_HOST=0.0.0.0 \
    CHATSPHERE_DEMO=off
WORKDIR /data
VOLUME /data
EXPOSE 3001
USER 65532:65532
# Alive, not ready: a container that waits for its database need not be started anew.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/usr/local/bin/chatsphere", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/chatsphere"]
CMD ["serve"]
