/** A TCP connection within this process, for programs that see what goes through sockets. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"

/** Two ends of a connection over the loopback device. */
export const connection = Effect.acquireRelease(
  Effect.callback<{ readonly near: Net.Socket; readonly far: Net.Socket; readonly server: Net.Server }>((resume) => {
    const server = Net.createServer()
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (address === null || typeof address === "string") return
      const near = Net.connect(address.port, "127.0.0.1")
      server.once("connection", (far) => {
        const ready = (): void => resume(Effect.succeed({ near, far, server }))
        if (near.connecting) near.once("connect", ready)
        else ready()
      })
    })
  }),
  ({ far, near, server }) =>
    Effect.callback<void>((resume) => {
      near.destroy()
      far.destroy()
      server.close(() => resume(Effect.void))
    })
)

/** The descriptor of a socket of Node's, as maps of sockets take it. */
export const descriptorOf = (socket: Net.Socket): bigint => {
  const handle: unknown = Reflect.get(socket, "_handle")
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined
  return typeof fd === "number" ? BigInt(fd) : assert.fail("a socket without descriptor")
}
