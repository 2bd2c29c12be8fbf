/**
 * Waiting for descriptors that are the user's own: sockets that no call of the Kernel contract makes.
 *
 * As ring buffers are waited for: one thread for all, none of those that libuv reads files with.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Errno from "../abi/Errno.ts"
import { fromErrno } from "../KernelError.ts"
import * as Epoll from "../sys/Epoll.ts"
import * as Reactor from "./Reactor.ts"

export type { Reactor } from "./Reactor.ts"

/** A way to wait until the scope closes; its thread is started for the first who waits, and has ended when the scope has closed. */
export const make: Effect.Effect<Reactor.Reactor, never, Scope.Scope> = Effect.suspend(() =>
  Reactor.make(() =>
    Result.mapError(
      Epoll.make(),
      ({ detail, hint }) => fromErrno("Wait", "descriptors", Errno.numbers.ENOSYS, { hint: `${detail}; ${hint}` })
    )
  ).session
)
