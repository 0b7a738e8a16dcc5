//! Who listens where: the hub, outbound queues, resume, the event bus.
