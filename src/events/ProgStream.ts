/**
 * What programs print: each has a standard output and a standard error, to which it prints with `bpf_stream_printk`; the kernel
 * writes to standard error what it has to report of the program (arena faults, a loop that was stopped, a deadlock).
 *
 * The kernel keeps up to 100,000 bytes of each until they are read, and drops what is printed beyond that. Nobody is called when
 * there is something to read, so these streams look again after an interval. Each byte is read once, by one reader.
 *
 * Kernels from 6.17 on have streams. Others refuse with `EINVAL`.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { ProgStreamRead } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"

/** A stream of a program. */
export type Output = ProgStreamRead["stream"]

/** How a stream is read. */
export interface ProgStreamOptions {
  /** Milliseconds to the next look when there was nothing; default 100. */
  readonly interval?: number
  /** Bytes that are read at once; default 16,384. */
  readonly chunk?: number
}

const defaultInterval = 100
const defaultChunk = 16_384

/** Bytes that a program has printed by now and that nobody has read: all of them, in pieces of what was read at once. */
export const read = (
  session: Session,
  prog: ProgRef,
  output: Output,
  options: Pick<ProgStreamOptions, "chunk"> = {}
): Effect.Effect<Uint8Array, CallError> =>
  Effect.gen(function*() {
    const { chunk = defaultChunk } = options
    const pieces: Array<Uint8Array> = []
    let length = 0
    // A program that prints faster than this reads must not hold it for ever: the kernel keeps no more than this at a time.
    while (length < mostKept) {
      const piece = yield* session.call({ _tag: "ProgStreamRead", prog, stream: output, length: chunk })
      if (piece.length === 0) break
      pieces.push(piece)
      length += piece.length
    }
    const all = new Uint8Array(length)
    let at = 0
    for (const piece of pieces) {
      all.set(piece, at)
      at += piece.length
    }
    return all
  })

/** Bytes that the kernel keeps of a stream. */
const mostKept = 100_000

/** The bytes that a program prints, as they come, for ever. */
export const bytes = (
  session: Session,
  prog: ProgRef,
  output: Output,
  options: ProgStreamOptions = {}
): Stream.Stream<Uint8Array, CallError> => {
  const { chunk = defaultChunk, interval = defaultInterval } = options
  const next: Effect.Effect<readonly [Uint8Array], CallError> = Effect.flatMap(
    session.call({ _tag: "ProgStreamRead", prog, stream: output, length: chunk }),
    (piece) => piece.length > 0 ? Effect.succeed([piece]) : Effect.andThen(Effect.sleep(interval), next)
  )
  return Stream.fromPull(Effect.succeed(next))
}

/** The lines that a program prints, as they come, for ever. Bytes that are no UTF-8 read as U+FFFD. */
export const lines = (
  session: Session,
  prog: ProgRef,
  output: Output,
  options: ProgStreamOptions = {}
): Stream.Stream<string, CallError> =>
  bytes(session, prog, output, options).pipe(Stream.decodeText(), Stream.splitLines)
