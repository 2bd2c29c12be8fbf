/** Maps of which known attributes are wrong: what the search for refused attributes has to find. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { MapAttributes, MapCreate } from "../../src/services/Kernel/KernelCall.ts"
import { type CallError, KernelError, type RefusedAttribute } from "../../src/services/Kernel/KernelError.ts"
import * as MapRefusal from "../../src/stages/load/MapRefusal.ts"
import { mapCreate } from "./LiveKernel.ts"

/** A change that no kernel takes for maps of a type, and what it is found as. */
export interface Wrong {
  readonly as: string
  readonly attr: Partial<MapAttributes>
  /** Added to the flags. */
  readonly flag?: number
  /** Taken from the flags. */
  readonly without?: number
}

const wrong = (as: string, attr: Partial<MapAttributes>): Wrong => ({ as, attr })
const flag = (name: keyof typeof MapFlag): Wrong => ({ as: `map_flags ${name}`, attr: {}, flag: MapFlag[name] })
const without = (name: keyof typeof MapFlag): Wrong => ({
  as: `map_flags without ${name}`,
  attr: {},
  without: MapFlag[name]
})

/** A map that every kernel takes, and what it does not take of it: each by itself. */
export const types: ReadonlyArray<{ readonly attr: Partial<MapAttributes>; readonly wrongs: ReadonlyArray<Wrong> }> = [
  {
    attr: { type: MapType.BPF_MAP_TYPE_HASH, keySize: 12, valueSize: 40, maxEntries: 100 },
    wrongs: [
      wrong("key_size 0", { keySize: 0 }),
      wrong("value_size 0", { valueSize: 0 }),
      wrong("max_entries 0", { maxEntries: 0 }),
      flag("BPF_F_STACK_BUILD_ID"),
      flag("BPF_F_CLONE"),
      flag("BPF_F_MMAPABLE")
    ]
  },
  {
    attr: { type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 40, maxEntries: 100 },
    wrongs: [
      wrong("key_size 8", { keySize: 8 }),
      wrong("value_size 0", { valueSize: 0 }),
      wrong("max_entries 0", { maxEntries: 0 }),
      flag("BPF_F_NO_PREALLOC"),
      flag("BPF_F_ZERO_SEED")
    ]
  },
  {
    attr: { type: MapType.BPF_MAP_TYPE_LRU_HASH, keySize: 16, valueSize: 8, maxEntries: 64 },
    wrongs: [wrong("key_size 0", { keySize: 0 }), wrong("max_entries 0", { maxEntries: 0 }), flag("BPF_F_NO_PREALLOC")]
  },
  {
    attr: {
      type: MapType.BPF_MAP_TYPE_LPM_TRIE,
      keySize: 8,
      valueSize: 8,
      maxEntries: 16,
      flags: MapFlag.BPF_F_NO_PREALLOC
    },
    wrongs: [
      wrong("key_size 4", { keySize: 4 }),
      wrong("value_size 0", { valueSize: 0 }),
      wrong("max_entries 0", { maxEntries: 0 }),
      without("BPF_F_NO_PREALLOC")
    ]
  },
  {
    attr: { type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 },
    wrongs: [
      wrong("key_size 4", { keySize: 4 }),
      wrong("value_size 8", { valueSize: 8 }),
      wrong("max_entries 1000", { maxEntries: 1000 }),
      flag("BPF_F_MMAPABLE")
    ]
  },
  {
    attr: { type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0, valueSize: 8, maxEntries: 16 },
    wrongs: [
      wrong("key_size 4", { keySize: 4 }),
      wrong("value_size 0", { valueSize: 0 }),
      wrong("max_entries 0", { maxEntries: 0 })
    ]
  },
  {
    attr: { type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, keySize: 4, valueSize: 8, maxEntries: 4 },
    wrongs: [wrong("key_size 2", { keySize: 2 }), wrong("max_entries 0", { maxEntries: 0 }), flag("BPF_F_MMAPABLE")]
  }
]

/** The call with these changes. */
export const changed = (attr: Partial<MapAttributes>, wrongs: ReadonlyArray<Wrong>): MapCreate => {
  const flags = wrongs.reduce((flags, { flag = 0, without = 0 }) => (flags | flag) & ~without, attr.flags ?? 0)
  return mapCreate(0, Object.assign({}, attr, ...wrongs.map(({ attr }) => attr), { flags }))
}

/** Maps with some of what is wrong for their types. */
export const cases: fc.Arbitrary<{ readonly call: MapCreate; readonly found: ReadonlyArray<string> }> = fc
  .constantFrom(...types).chain(({ attr, wrongs }) =>
    fc.subarray([...wrongs], { minLength: 1 }).map((chosen) => ({
      call: changed(attr, chosen),
      found: chosen.map(({ as }) => as).sort()
    }))
  )

/** What is found, as texts. */
export const texts = (attributes: ReadonlyArray<RefusedAttribute>): ReadonlyArray<string> =>
  attributes.map(({ attribute, value }) => `${attribute} ${value}`).sort()

/** The error of a refused map, with what a search in the same session finds. */
export const refusalOf = Effect.fnUntraced(function*(session: Session, call: MapCreate) {
  const error: CallError = yield* Effect.flip(session.call(call))
  if (!(error instanceof KernelError)) return assert.fail(error.message)
  return yield* MapRefusal.explained(session, call, error)
})

/** Asserts that all is found that is wrong, and nothing else. */
export const assertFound = Effect.fnUntraced(function*(
  session: Session,
  { call, found }: { readonly call: MapCreate; readonly found: ReadonlyArray<string> }
) {
  const { attributes = [], hint } = yield* refusalOf(session, call)
  assert.deepStrictEqual(texts(attributes), found)
  for (const { attribute, reason, value } of attributes) assert.include(hint, `${attribute} ${value}: ${reason}`)
})
