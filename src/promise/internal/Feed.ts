/**
 * The records of one buffer, for all loops that read it: each record goes to one of them.
 *
 * The buffer is opened when the first loop begins, and stays open until its object is closed. Records come in chunks; what a
 * loop has not taken of a chunk when it ends stays here for the next one, so that leaving a loop loses nothing.
 */
import type * as Effect from "effect/Effect"
import type { Buffer } from "./Buffers.ts"
import type { Lifetime, Needs } from "./Lifetime.ts"

/** The records of one buffer. */
export interface Feed {
  /** A loop begins; it must leave. */
  readonly enter: () => void
  /** A loop ends; the last one waits until nobody reads any more. */
  readonly leave: () => Promise<void>
  /** Waits until there are records; `false` where no loop wants them any more, or where none will come. */
  readonly more: () => Promise<boolean>
  /** The next record that is there, which stays. */
  readonly peek: () => Uint8Array | undefined
  /** The next record is done with. */
  readonly shift: () => void
  /** How many records were taken out of the buffer. */
  readonly taken: () => number
  /** How many of them are there that no loop has got. */
  readonly waiting: () => number
  /** Records that found no room in the buffer since the object was loaded; `undefined` where nobody counts them. */
  readonly lost: (signal?: AbortSignal) => Promise<bigint | undefined>
}

/** The feed of a buffer that is opened in a lifetime. */
export const make = <E>(own: Lifetime, open: Effect.Effect<Buffer<E>, E, Needs>): Feed => {
  let chunk: ReadonlyArray<Uint8Array> = []
  let at = 0
  let taken = 0
  let loops = 0
  let opening: Promise<Buffer<E>> | undefined
  let reading: Promise<boolean> | undefined
  let nobody = new AbortController()
  const opened = (): Promise<Buffer<E>> => {
    opening ??= own.run(open)
    opening.catch(() => {
      opening = undefined
    })
    return opening
  }
  const read = async (): Promise<boolean> => {
    const { signal } = nobody
    try {
      // Nobody reads before the last chunk is used up, so it can be replaced.
      const next = await own.run((await opened()).take, signal)
      chunk = next
      at = 0
      taken += next.length
      return true
    } catch (error) {
      if (signal.aborted || own.isClosed()) return false
      throw error
    } finally {
      reading = undefined
    }
  }
  return {
    enter: () => {
      loops++
    },
    leave: async () => {
      loops--
      if (loops > 0 || reading === undefined) return
      nobody.abort()
      nobody = new AbortController()
      await reading.catch(() => undefined)
    },
    more: async () => {
      // A wait that was ended because a loop has left is begun again for one that has come since.
      while (loops > 0 && !own.isClosed()) {
        if (at < chunk.length || await (reading ??= read())) return true
      }
      return false
    },
    peek: () => chunk[at],
    shift: () => {
      at++
    },
    taken: () => taken,
    waiting: () => chunk.length - at,
    lost: async (signal) => own.run((await opened()).lost, signal)
  }
}
