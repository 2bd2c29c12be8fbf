/**
 * What is being written, as a stack: bodies of structs and unions, and declarations.
 *
 * The frames lie in one array of numbers, since they come and go with every member. Declarations keep their chains of
 * types in a second one.
 */
import type { State } from "./State.ts"

/** Entries of a frame in `state.frames`. */
export const FRAME = 9

/** What the frame is: `BODY`, `DECLARATOR` or `SUFFIXES`. */
export const WHAT = 0

/** A body: the type, the next member, the end of the last member in bits. */
export const BODY_TYPE = 1
export const BODY_NEXT = 2
export const BODY_END = 3
/** The level of indentation, whether the struct is packed, whether the last member was a bit field. */
export const BODY_LEVEL = 4
export const BODY_PACKED = 5
export const BODY_BITFIELD = 6

/**
 * A declaration: its part of `state.chain` begins at `BASE`. What is below `AT` is still to be written, innermost last;
 * what is from `SUFFIX` up to `TOP` was passed and has a suffix to come.
 */
export const BASE = 1
export const AT = 2
export const SUFFIX = 3
export const TOP = 4
/** A string offset, `GIVEN_NAME`, or what `nameOfType` answers. */
export const NAME = 5
export const LEVEL = 6
/** Whether the last thing written was a pointer, after which no space is needed. */
export const AFTER_POINTER = 7
/** The next parameter of the prototype whose parameters are being written. */
export const PARAMETER = 8

/** The frame is the body of a struct or union. */
export const BODY = 0
/** The frame is a declaration up to its name. */
export const DECLARATOR = 1
/** The frame is a declaration after its name. */
export const SUFFIXES = 2

/** The name of a declaration that the caller gave as bytes. */
export const GIVEN_NAME = -1

/** The name of type `id`, as the name of a declaration. */
export const nameOfType = (id: number): number => -1 - id

/** Deepest indentation that is written. */
export const MAX_TABS = 13

/** Pushes a frame of this sort, whose other entries the caller sets; answers its place. */
export const pushFrame = (state: State, what: number): number => {
  const { frames } = state
  const frame = state.depth
  state.depth = frame + FRAME
  frames[frame] = what
  // The array grows by whole frames, in order, so that it never has holes.
  if (frames.length < frame + FRAME) {
    for (let entry = frame + 1; entry < frame + FRAME; entry++) frames[entry] = 0
  }
  return frame
}

/** Forgets what was being written. */
export const resetFrames = (state: State): void => {
  const { chain, frames, open } = state
  for (let frame = 0; frame < state.depth; frame += FRAME) {
    if (frames[frame + WHAT] === BODY) open[frames[frame + BODY_TYPE] ?? 0] = 0
    else if (frames[frame + WHAT] === SUFFIXES) open[(chain[frames[frame + SUFFIX] ?? 0] ?? 0) >>> 1] = 0
  }
  state.depth = 0
  state.chainEnd = 0
}
