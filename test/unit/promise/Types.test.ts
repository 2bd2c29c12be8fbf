/** No type of Effect is in what the promise face takes and gives: by its types, and by what its files import. */
import { assert, describe, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Bpf, BtfValue, Kernel, Link, Loaded, Opened, SimulatedKernel, Target } from "../../../src/promise.ts"
import { repository } from "../../support/Require.ts"

/** What nobody should get who does not use Effect. */
type Foreign =
  | Effect.Effect<unknown, unknown, unknown>
  | Stream.Stream<unknown, unknown, unknown>
  | Result.Result<unknown, unknown>
  | Exit.Exit<unknown, unknown>
  | Option.Option<unknown>
  | Layer.Layer<never, unknown, unknown>
  | Scope.Scope

/** Types that are looked at as a whole. */
type Whole = Error | Uint8Array | AbortSignal | URL | BtfValue

/** The types of Effect's that are in a type, so many levels deep: none is `never`. */
type Leaks<T, Depth extends ReadonlyArray<0> = []> = Depth["length"] extends 7 ? never
  : unknown extends T ? never
  : T extends Foreign ? T
  : T extends Whole ? never
  : T extends (...args: infer P) => infer R ? Leaks<P[number], [...Depth, 0]> | Leaks<R, [...Depth, 0]>
  : T extends Promise<infer A> ? Leaks<A, [...Depth, 0]>
  : T extends AsyncIterable<infer A> & { readonly close: infer _ } ? Leaks<A, [...Depth, 0]>
  : T extends AsyncIterable<infer A> ? Leaks<A, [...Depth, 0]>
  : T extends ReadonlyMap<infer K, infer V> ? Leaks<K | V, [...Depth, 0]>
  : T extends ReadonlyArray<infer A> ? Leaks<A, [...Depth, 0]>
  : T extends object ? { [N in keyof T]-?: Leaks<T[N], [...Depth, 0]> }[keyof T]
  : never

const none = <T>(leaks: [Leaks<T>] extends [never] ? "none" : Leaks<T>) => leaks

const folder = Path.join(repository, "src/promise")

/** The files whose types are public: all but those in the folder of what is not. */
const files = Fs.readdirSync(folder).filter((name) => name.endsWith(".ts"))

const importsOf = (source: string): ReadonlyArray<string> =>
  [...source.matchAll(/^\s*(?:import|export)\b[^"'`;]*?\bfrom\s*"([^"]+)"/gm)].map(([, specifier]) => specifier ?? "")

describe("the types of the promise face", () => {
  it("are none of Effect", () => {
    none<Kernel>("none")
    none<SimulatedKernel>("none")
    none<Opened>("none")
    none<Loaded>("none")
    none<Link>("none")
    none<Target>("none")
    none<typeof Bpf.open>("none")
    none<typeof Bpf.load>("none")
    none<typeof Bpf.live>("none")
    none<typeof Bpf.simulated>("none")
  })

  it("named fault: one that is deep inside is seen", () => {
    interface Faulty {
      readonly ask: () => Promise<{ readonly later: ReadonlyArray<Effect.Effect<number>> }>
    }
    // @ts-expect-error an Effect is in it
    void none<Faulty>("none")
    // @ts-expect-error so is a Result, in what is given
    void none<(options: { readonly done?: Result.Result<number, string> }) => void>("none")
  })

  it("come from files that import nothing of Effect, errors apart", () => {
    assert.include(files, "Loaded.ts")
    for (const name of files.filter((each) => each !== "Errors.ts")) {
      const specifiers = importsOf(Fs.readFileSync(Path.join(folder, name), "utf8"))
      assert.deepStrictEqual(specifiers.filter((specifier) => /^@?effect(\/|$)/.test(specifier)), [], name)
    }
  })
})
