/**
 * In which order C wants the types: what a type embeds is defined before it.
 *
 * A type embeds its members; what is behind a pointer need only be declared, unless it has no name and is therefore
 * spelled out in place. Named structs and unions, typedefs, and enums go into the queue after all that they embed. The
 * walk keeps its own stack, since the nesting is the blob's choice.
 *
 * Source: reference page `btf-dump`, section B. Types on a cycle that C cannot express, and all types that embed one,
 * are refused each time; libbpf forgets what it had queued when it found the cycle, takes a pointer on it for well
 * formed later, and overflows its stack on cycles of pointers, typedefs or qualifiers.
 */
import type { BtfError } from "../BtfError.ts"
import { btfError } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import { countAt, extraAt, nameAt, wordAt } from "./Flat.ts"
import type { State } from "./State.ts"
import { markReferenced, step } from "./State.ts"

/** Nothing is left to do for the type. */
const DONE = 1
/** The walk is inside the type, embedded; times two: behind a pointer. */
const INSIDE = 2
/** The type cannot be defined, embedded; times two: behind a pointer. */
const FAILED = 8

/** Entries of a frame in `state.walk`: twice the id and whether behind a pointer, the next child, strong so far. */
const FRAME = 3

/** Answers of a visit: what it leads to need only be declared, must be defined, is not known yet, cannot be defined. */
const WEAK = 0
const STRONG = 1
const PENDING = 2
const IMPOSSIBLE = 3

/** The longest cycle whose ids an error lists. */
const LISTED = 8

/** Whether the type has anything to dump that was not dumped yet; a quick answer, and not wrong when it says no. */
export const isPending = (state: State, id: number): boolean => {
  if (((state.order[id] ?? 0) & DONE) !== 0) return false
  switch (state.flat.kinds[id]) {
    case Kind.BTF_KIND_FUNC:
    case Kind.BTF_KIND_VAR:
    case Kind.BTF_KIND_DATASEC:
    case Kind.BTF_KIND_DECL_TAG:
      return false
    default:
      return true
  }
}

/**
 * Queues all that must be defined for type `id`, last the type itself. Answers the error of a type that cannot be
 * defined; what the walk had queued before it stays in the queue.
 */
export const order = (state: State, id: number): BtfError | undefined => {
  state.referenced ??= markReferenced(state.flat)
  const { walk } = state
  let result = visit(state, id, 0, 0)
  let top = 0
  if (result === PENDING) {
    top = FRAME
    result = WEAK
    for (;;) {
      const frame = top - FRAME
      const key = walk[frame] ?? 0
      const current = key >>> 1
      const behind = key & 1
      const index = walk[frame + 1] ?? 0
      const child = childOf(state, current, index)
      if (child >= 0) {
        walk[frame + 1] = index + 1
        const childBehind = behindAt(state, current, behind)
        result = visit(state, child, childBehind, top)
        if (result === PENDING) {
          top += FRAME
          continue
        }
        if (result === IMPOSSIBLE) return giveUp(state, child, childBehind, top)
        walk[frame + 2] = (walk[frame + 2] ?? 0) | result
        continue
      }
      result = leave(state, current, behind, walk[frame + 2] ?? 0)
      top -= FRAME
      if (top === 0) return undefined
      walk[top - FRAME + 2] = (walk[top - FRAME + 2] ?? 0) | result
    }
  }
  return result === IMPOSSIBLE ? giveUp(state, id, 0, 0) : undefined
}

/** Whether the children of a type count as behind a pointer. */
const behindAt = (state: State, id: number, behind: number): number => {
  switch (state.flat.kinds[id]) {
    case Kind.BTF_KIND_PTR:
      return 1
    case Kind.BTF_KIND_ARRAY:
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return 0
    default:
      return behind
  }
}

/** The `index`th type that the type refers to; -1 past the last. */
const childOf = (state: State, id: number, index: number): number => {
  const { flat } = state
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      return index < countAt(flat, id) ? extraAt(flat, id, index * 3 + 1) : -1
    case Kind.BTF_KIND_FUNC_PROTO:
      if (index === 0) return wordAt(flat, id)
      return index <= countAt(flat, id) ? extraAt(flat, id, index * 2 - 1) : -1
    case Kind.BTF_KIND_ARRAY:
      return index === 0 ? extraAt(flat, id, 0) : -1
    default:
      return index === 0 ? wordAt(flat, id) : -1
  }
}

/** Looks at a type; one that has children is entered, with a frame at `top`. */
const visit = (state: State, id: number, behind: number, top: number): number => {
  const { flat, order: states } = state
  if (id === 0) return STRONG
  const known = states[id] ?? 0
  if ((known & DONE) !== 0) return STRONG
  step(state, 1)
  // How the type was reached makes no difference to some kinds: they have one state.
  let slot = behind
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_INT:
    case Kind.BTF_KIND_FLOAT:
    case Kind.BTF_KIND_FUNC:
    case Kind.BTF_KIND_VAR:
    case Kind.BTF_KIND_DATASEC:
    case Kind.BTF_KIND_DECL_TAG:
      states[id] = DONE
      return WEAK
    case Kind.BTF_KIND_ENUM:
    case Kind.BTF_KIND_ENUM64:
    case Kind.BTF_KIND_FWD:
      if (nameAt(flat, id) !== 0 || state.referenced?.[id] !== 1) state.queue.push(id)
      states[id] = DONE
      return STRONG
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      if (behind === 1 && nameAt(flat, id) !== 0) return WEAK
      slot = 0
      break
    case Kind.BTF_KIND_PTR: {
      const quick = quickPointer(state, id)
      if (quick !== PENDING) return quick
      slot = 0
      break
    }
    case Kind.BTF_KIND_ARRAY:
      slot = 0
      break
    case Kind.BTF_KIND_TYPEDEF:
    case Kind.BTF_KIND_CONST:
    case Kind.BTF_KIND_VOLATILE:
    case Kind.BTF_KIND_RESTRICT:
    case Kind.BTF_KIND_TYPE_TAG:
    case Kind.BTF_KIND_FUNC_PROTO:
      break
    default:
      return IMPOSSIBLE
  }
  if ((known & ((INSIDE | FAILED) << slot)) !== 0) return IMPOSSIBLE
  states[id] = known | (INSIDE << slot)
  const { walk } = state
  walk[top] = id * 2 + slot
  walk[top + 1] = 0
  walk[top + 2] = WEAK
  return PENDING
}

/** The visit of a pointer to what needs no visit of its own, perhaps through a qualifier: most pointers. */
const quickPointer = (state: State, id: number): number => {
  const { flat, order: states } = state
  let target = wordAt(flat, id)
  if (flat.kinds[target] === Kind.BTF_KIND_CONST) target = wordAt(flat, target)
  if (target === 0 || ((states[target] ?? 0) & DONE) !== 0) {
    states[id] = DONE
    return STRONG
  }
  switch (flat.kinds[target]) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      if (nameAt(flat, target) === 0) return PENDING
      states[id] = DONE
      return WEAK
    default:
      return PENDING
  }
}

/** Ends the visit of a type whose children are all visited; answers how it is linked. */
const leave = (state: State, id: number, behind: number, strength: number): number => {
  const { flat, order: states } = state
  const known = (states[id] ?? 0) & ~(INSIDE << behind)
  switch (flat.kinds[id]) {
    case Kind.BTF_KIND_STRUCT:
    case Kind.BTF_KIND_UNION:
      if (nameAt(flat, id) !== 0) state.queue.push(id)
      states[id] = DONE
      return STRONG
    case Kind.BTF_KIND_TYPEDEF:
      if (behind === 1 && strength === WEAK) {
        states[id] = known
        return WEAK
      }
      state.queue.push(id)
      states[id] = DONE
      return STRONG
    case Kind.BTF_KIND_PTR:
    case Kind.BTF_KIND_ARRAY:
      states[id] = DONE
      return strength
    default:
      states[id] = allDone(state, id) ? DONE : known
      return strength
  }
}

/** Whether nothing is left to do for any type that this one refers to, so that another visit would change nothing. */
const allDone = (state: State, id: number): boolean => {
  for (let index = 0;; index++) {
    const child = childOf(state, id, index)
    if (child < 0) return true
    if (child !== 0 && ((state.order[child] ?? 0) & DONE) === 0) return false
  }
}

/** Marks the types on the stack as impossible, and says what is wrong with the one at its end. */
const giveUp = (state: State, id: number, behind: number, top: number): BtfError => {
  const { flat, order: states, walk } = state
  const root = top === 0 ? id : (walk[0] ?? 0) >>> 1
  const kind = flat.kinds[id] ?? 0
  const composite = kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION
  const slot = composite || kind === Kind.BTF_KIND_PTR || kind === Kind.BTF_KIND_ARRAY ? 0 : behind
  const inside = ((states[id] ?? 0) & (INSIDE << slot)) !== 0
  const cycle: Array<number> = []
  for (let frame = top - FRAME; frame >= 0; frame -= FRAME) {
    const key = walk[frame] ?? 0
    const bit = key & 1
    const current = key >>> 1
    states[current] = ((states[current] ?? 0) & ~(INSIDE << bit)) | (FAILED << bit)
    if (inside && cycle[cycle.length - 1] !== -1) {
      if (cycle.length < LISTED) cycle.push(current)
      if (current === id && bit === slot) cycle.push(-1)
    }
  }
  if (inside) {
    const closed = cycle[cycle.length - 1] === -1
    const listed = (closed ? cycle.slice(0, -1) : cycle).reverse()
    const path = closed && listed[0] === id ? [...listed, id].join(" → ") : `${id} → … → ${listed.join(" → ")} → ${id}`
    return btfError("Cycle", `C cannot express a cycle of types: ${path}`, { typeId: root })
  }
  if (((states[id] ?? 0) & (FAILED << slot)) !== 0) {
    return btfError("Cycle", `it needs type ${id}, which cannot be defined`, { typeId: root })
  }
  return btfError("UnknownKind", `a ${Kind.kindName(kind)} cannot be written in C`, { typeId: root })
}
