/**
 * A stage: a named step from one immutable value to the next.
 *
 * The stages of this library and those of a user compose to a pipeline; each runs under a span of its own name.
 */
import * as Effect from "effect/Effect"

/** A named function from `In` to an effect of `Out`. */
export interface Stage<in In, out Out, out E = never, out R = never> {
  readonly name: string
  readonly run: (input: In) => Effect.Effect<Out, E, R>
}

/** Makes a stage; its runs carry a span `effect-bpf.<name>`. */
export const make = <In, Out, E = never, R = never>(
  name: string,
  run: (input: In) => Effect.Effect<Out, E, R>
): Stage<In, Out, E, R> => ({
  name,
  run: (input) => Effect.withSpan(Effect.suspend(() => run(input)), `effect-bpf.${name}`)
})

/** Makes a stage of a pure function that cannot fail: an edit of the value between two stages. */
export const map = <In, Out>(name: string, f: (input: In) => Out): Stage<In, Out> =>
  make(name, (input) => Effect.sync(() => f(input)))

/** Composes stages: what one hands out, the next takes in. */
export function pipeline<A, B, E1, R1>(
  ab: Stage<A, B, E1, R1>
): Stage<A, B, E1, R1>
export function pipeline<A, B, C, E1, R1, E2, R2>(
  ab: Stage<A, B, E1, R1>,
  bc: Stage<B, C, E2, R2>
): Stage<A, C, E1 | E2, R1 | R2>
export function pipeline<A, B, C, D, E1, R1, E2, R2, E3, R3>(
  ab: Stage<A, B, E1, R1>,
  bc: Stage<B, C, E2, R2>,
  cd: Stage<C, D, E3, R3>
): Stage<A, D, E1 | E2 | E3, R1 | R2 | R3>
export function pipeline<A, B, C, D, F, E1, R1, E2, R2, E3, R3, E4, R4>(
  ab: Stage<A, B, E1, R1>,
  bc: Stage<B, C, E2, R2>,
  cd: Stage<C, D, E3, R3>,
  df: Stage<D, F, E4, R4>
): Stage<A, F, E1 | E2 | E3 | E4, R1 | R2 | R3 | R4>
export function pipeline<A, B, C, D, F, G, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>(
  ab: Stage<A, B, E1, R1>,
  bc: Stage<B, C, E2, R2>,
  cd: Stage<C, D, E3, R3>,
  df: Stage<D, F, E4, R4>,
  fg: Stage<F, G, E5, R5>
): Stage<A, G, E1 | E2 | E3 | E4 | E5, R1 | R2 | R3 | R4 | R5>
export function pipeline<A, B, C, D, F, G, H, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6>(
  ab: Stage<A, B, E1, R1>,
  bc: Stage<B, C, E2, R2>,
  cd: Stage<C, D, E3, R3>,
  df: Stage<D, F, E4, R4>,
  fg: Stage<F, G, E5, R5>,
  gh: Stage<G, H, E6, R6>
): Stage<A, H, E1 | E2 | E3 | E4 | E5 | E6, R1 | R2 | R3 | R4 | R5 | R6>
export function pipeline(
  ...stages: ReadonlyArray<Stage<never, unknown, unknown, unknown>>
): Stage<never, unknown, unknown, unknown> {
  return {
    name: stages.map((stage) => stage.name).join(" → "),
    run: (input) =>
      // The overloads have checked that neighbours fit, which an array of stages of unlike types cannot say.
      stages.reduce<Effect.Effect<unknown, unknown, unknown>>(
        (before, stage) => Effect.flatMap(before, (value) => stage.run(value as never)),
        Effect.succeed(input)
      )
  }
}
