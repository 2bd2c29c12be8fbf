/** Budgets: what is measured, what of growth is allowed, and files that were made to do harm. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Budget from "../../../src/diagnostics/Budget.ts"
import * as StackChain from "../../../src/diagnostics/budget/StackChain.ts"
import * as Insn from "../../../src/insn/Insn.ts"
import { runs } from "../../support/Require.ts"

// ---- Stack ------------------------------------------------------------------------------------------------------------

const pseudoCall = 1

/** A program of as many functions as there are lists: each calls those that its list names, and returns. */
const programOf = (functions: ReadonlyArray<ReadonlyArray<number>>): Uint8Array => {
  const starts = functions.map((_, at) => functions.slice(0, at).reduce((sum, calls) => sum + calls.length + 1, 0))
  const insns = new Uint8Array(8 * functions.reduce((sum, calls) => sum + calls.length + 1, 0))
  let slot = 0
  for (const calls of functions) {
    for (const callee of calls) {
      Insn.setOpcode(insns, slot, Insn.CALL)
      Insn.setSrc(insns, slot, pseudoCall)
      Insn.setImm(insns, slot, (starts[callee] ?? 0) - slot - 1)
      slot++
    }
    Insn.setOpcode(insns, slot++, Insn.EXIT)
  }
  return insns
}

/** Functions that call later ones, each of which is called by an earlier one: none is unreachable. */
const acyclic = fc.array(fc.tuple(fc.nat(), fc.array(fc.nat(), { maxLength: 2 })), { minLength: 1, maxLength: 8 }).map(
  (drawn) => {
    const calls: ReadonlyArray<Array<number>> = drawn.map(([, more], at) => {
      const later = drawn.length - at - 1
      return later === 0 ? [] : more.map((each) => at + 1 + each % later)
    })
    for (const [at, [caller]] of drawn.entries()) if (at > 0) calls[caller % at]?.push(at)
    return calls
  }
)

const byRecursion = (functions: ReadonlyArray<ReadonlyArray<number>>, depths: ReadonlyArray<number>, at = 0): number =>
  (depths[at] ?? 0) + Math.max(0, ...(functions[at] ?? []).map((callee) => byRecursion(functions, depths, callee)))

/** What is wrong with an answer for the deepest chain. */
const wrongChains = (deepest: typeof StackChain.deepest): number => {
  let wrong = 0
  fc.assert(
    fc.property(acyclic, fc.array(fc.nat(512), { minLength: 8, maxLength: 8 }), (functions, numbers) => {
      const depths = numbers.slice(0, functions.length)
      if (deepest(programOf(functions), depths) !== byRecursion(functions, depths)) wrong++
    }),
    { numRuns: runs(200) }
  )
  return wrong
}

describe("the deepest chain of calls", () => {
  it("is the sum of its functions' stacks", () => {
    assert.strictEqual(wrongChains(StackChain.deepest), 0)
  })

  it("named fault: the sum of all functions is another number", () => {
    assert.isAbove(wrongChains((_, depths) => depths.reduce((sum, depth) => sum + depth, 0)), 0)
  })

  it("is not told of functions that call themselves, or where the depths are others'", () => {
    assert.isUndefined(StackChain.deepest(programOf([[1], [0]]), [8, 8]))
    assert.isUndefined(StackChain.deepest(programOf([[1], [1]]), [8, 8]))
    assert.isUndefined(StackChain.deepest(programOf([[1], []]), [8]))
    assert.strictEqual(StackChain.deepest(programOf([[]]), [8]), 8)
  })

  it("takes no time to speak of in a program that was made to take it, and no bytes to be wrong", () => {
    // Each function calls the next one twice: 2^400 paths.
    const doubling = Array.from({ length: 400 }, (_, at) => at === 399 ? [] : [at + 1, at + 1])
    assert.strictEqual(StackChain.deepest(programOf(doubling), doubling.map(() => 1)), 400)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(512), { maxLength: 4 }), (bytes, depths) => {
        StackChain.deepest(bytes, depths)
      }),
      { numRuns: runs(200) }
    )
  })
})

// ---- Measuring --------------------------------------------------------------------------------------------------------

const numbersOf = (measurement: Budget.Measurement) => Object.fromEntries(measurement.values)

describe("a measurement", () => {
  const insns = programOf([[1], []])
  const info = { verifiedInstructions: 12, xlatedLength: 24, jitedLength: 100 }

  it("is what the verifier and the kernel say", () => {
    const log = "verification time 57 usec\nstack depth 16+8\n" +
      "processed 10 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 2 mark_read 1\n"
    const measured = Budget.measure({ name: "p", insns, log, info })
    assert.deepStrictEqual(numbersOf(measured), {
      instructions: 3,
      verified_instructions: 10,
      total_states: 3,
      peak_states: 2,
      max_states_per_instruction: 1,
      verification_time: 57,
      stack: 24,
      xlated_instructions: 3,
      jited_bytes: 100
    })
    assert.deepStrictEqual(measured.stackDepths, [16, 8])
  })

  it("without a log is what the kernel says, and without both the program itself", () => {
    assert.deepStrictEqual(numbersOf(Budget.measure({ name: "p", insns, log: "", info })), {
      instructions: 3,
      verified_instructions: 12,
      xlated_instructions: 3,
      jited_bytes: 100
    })
    assert.deepStrictEqual(numbersOf(Budget.measure({ name: "p", insns, log: "nothing to see" })), { instructions: 3 })
  })
})

// ---- Comparing --------------------------------------------------------------------------------------------------------

const measured = (values: Readonly<Partial<Record<Budget.Metric, number>>>, name = "p"): Budget.Measurement => ({
  name,
  values: new Map(Budget.metrics.flatMap((metric) => {
    const value = values[metric]
    return value === undefined ? [] : [[metric, value] as const]
  })),
  stackDepths: []
})

const origin: Budget.Origin = { kernel: "6.12.1", programs: ["p", "q"] }

const budgetOf = (
  values: Readonly<Partial<Record<Budget.Metric, number>>>,
  thresholds: { readonly all?: Budget.Overrides; readonly own?: Budget.Overrides } = {}
): Budget.Budget => ({
  kernel: "6.12.1",
  thresholds: thresholds.all ?? new Map(),
  programs: new Map([["p", { ...measured(values), thresholds: thresholds.own ?? new Map() }]])
})

const statusOf = (budget: Budget.Budget, now: Budget.Measurement) => {
  const [row] = Budget.compare(budget, [now], origin).programs
  return [row?.status, ...row?.metrics.map(({ status }) => status) ?? []].join(" ")
}

describe("growth", () => {
  it("is allowed by percent or by number, whichever is more, and not by one more", () => {
    const large = budgetOf({ verified_instructions: 10_000 })
    assert.strictEqual(statusOf(large, measured({ verified_instructions: 11_000 })), "within more")
    assert.strictEqual(statusOf(large, measured({ verified_instructions: 11_001 })), "exceeded exceeded")
    const small = budgetOf({ verified_instructions: 10 })
    assert.strictEqual(statusOf(small, measured({ verified_instructions: 110 })), "within more")
    assert.strictEqual(statusOf(small, measured({ verified_instructions: 111 })), "exceeded exceeded")
    assert.strictEqual(statusOf(small, measured({ verified_instructions: 3 })), "within less")
    assert.strictEqual(statusOf(budgetOf({ stack: 0 }), measured({ stack: 33 })), "exceeded exceeded")
  })

  it("is what the file allows, and what it allows the program before that", () => {
    const all: Budget.Overrides = new Map([["verified_instructions", { percent: 0, absolute: 5 }]])
    const own: Budget.Overrides = new Map([["verified_instructions", { absolute: 7 }]])
    const now = (verified_instructions: number) => measured({ verified_instructions })
    assert.strictEqual(statusOf(budgetOf({ verified_instructions: 100 }, { all }), now(106)), "exceeded exceeded")
    assert.strictEqual(statusOf(budgetOf({ verified_instructions: 100 }, { all, own }), now(107)), "within more")
    assert.strictEqual(statusOf(budgetOf({ verified_instructions: 100 }, { all, own }), now(108)), "exceeded exceeded")
    const none: Budget.Overrides = new Map([["verified_instructions", null]])
    assert.strictEqual(
      statusOf(budgetOf({ verified_instructions: 100 }, { all, own: none }), now(9999)),
      "within ignored"
    )
  })

  it("of time counts only where something is said of time", () => {
    const now = measured({ verification_time: 9_000_000 })
    assert.strictEqual(statusOf(budgetOf({ verification_time: 1 }), now), "within ignored")
    const limited = (override: Budget.Override) =>
      budgetOf({ verification_time: 1 }, { all: new Map([["verification_time", override]]) })
    assert.strictEqual(statusOf(limited({ limit: 8_999_999 }), now), "exceeded exceeded")
    assert.strictEqual(statusOf(limited({ limit: 9_000_000 }), now), "within more")
    assert.strictEqual(statusOf(limited({ percent: 1000 }), now), "exceeded exceeded")
    assert.strictEqual(statusOf(limited({ absolute: 10_000_000 }), now), "within more")
  })

  it("above a limit is too much of a new program, too", () => {
    const budget = { ...budgetOf({}), programs: new Map(), thresholds: new Map([["stack", { limit: 64 }]] as const) }
    assert.strictEqual(statusOf(budget, measured({ stack: 64 })), "new new")
    assert.strictEqual(statusOf(budget, measured({ stack: 65 })), "exceeded exceeded")
  })

  it("is told worst first, with what comes and goes", () => {
    const comparison = Budget.compare(
      {
        ...budgetOf({ stack: 8, total_states: 4 }),
        programs: new Map([...budgetOf({ stack: 8, total_states: 4 }).programs, ["q", {
          ...measured({}),
          thresholds: new Map()
        }], ["gone", { ...measured({}), thresholds: new Map() }]])
      },
      [measured({ stack: 100, total_states: 4000 })],
      origin
    )
    assert.isTrue(comparison.exceeded)
    assert.deepStrictEqual(comparison.programs.map(({ name, status }) => `${name} ${status}`), [
      "p exceeded",
      "gone removed",
      "q unmeasured"
    ])
    assert.deepStrictEqual(Budget.growths(comparison).map(Budget.growthText), [
      "4000 total states, were 4; 20 are allowed",
      "100 bytes of stack, were 8; 40 are allowed"
    ])
    assert.deepStrictEqual(Budget.errorOf(comparison)?.growth.length, 2)
  })

  it("nothing is exceeded by what is written anew, and what is written stays as it is", () => {
    const values = fc.dictionary(fc.constantFrom(...Budget.metrics), fc.nat())
    fc.assert(
      fc.property(values, values, (before, now) => {
        const all: Budget.Overrides = new Map([["stack", { percent: 1 }]])
        const written = Budget.update(budgetOf(before, { all }), [measured(now)], origin)
        const comparison = Budget.compare(written, [measured(now)], origin)
        assert.isFalse(comparison.exceeded)
        assert.deepStrictEqual(written.thresholds, all)
        assert.deepStrictEqual(Budget.encode(Budget.update(written, [measured(now)], origin)), Budget.encode(written))
      }),
      { numRuns: runs(200) }
    )
  })

  it("time alone changes nothing in the file, and what the object does not have goes", () => {
    const budget = budgetOf({ stack: 8, verification_time: 10 })
    const written = Budget.update(budget, [measured({ stack: 8, verification_time: 999 })], origin)
    assert.strictEqual(written.programs.get("p")?.values.get("verification_time"), 10)
    const renamed = Budget.update(budget, [measured({}, "q")], { kernel: undefined, programs: ["q"] })
    assert.deepStrictEqual([...renamed.programs.keys()], ["q"])
    assert.deepStrictEqual([...Budget.update(budget, [], origin).programs.keys()], ["p"])
  })
})

// ---- Files ------------------------------------------------------------------------------------------------------------

const override: fc.Arbitrary<Budget.Override> = fc.option(
  fc.record({
    percent: fc.double({ min: 0, max: 1_000_000, noNaN: true }).map((each) => each === 0 ? 0 : each),
    absolute: fc.maxSafeNat(),
    limit: fc.maxSafeNat()
  }, { requiredKeys: [] })
)

const mapOf = <V>(value: fc.Arbitrary<V>) =>
  fc.array(fc.tuple(fc.constantFrom(...Budget.metrics), value)).map((entries) => new Map(entries))

const name = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("__proto__", "constructor", "toString", "version", "thresholds", "\ud800", "")
)

const arbitrary: fc.Arbitrary<Budget.Budget> = fc.record({
  kernel: fc.option(name, { nil: undefined }),
  thresholds: mapOf(override),
  programs: fc.array(fc.tuple(
    name,
    fc.record({
      values: mapOf(fc.maxSafeNat()),
      stackDepths: fc.array(fc.nat(512), { maxLength: 5 }),
      thresholds: mapOf(override)
    })
  )).map((entries) => new Map(entries))
})

const sorted = <K extends string, V>(map: ReadonlyMap<K, V>): ReadonlyArray<readonly [K, V]> =>
  [...map].sort(([one], [other]) => one < other ? -1 : 1)

/** A budget in which the order of its parts does not matter. */
const plain = ({ kernel, programs, thresholds }: Budget.Budget) => ({
  kernel,
  thresholds: sorted(thresholds),
  programs: sorted(programs).map(([name, stored]) => [
    name,
    { ...stored, values: sorted(stored.values), thresholds: sorted(stored.thresholds) }
  ])
})

const bytesOf = (text: string) => new TextEncoder().encode(text)

const refused = (text: string | Uint8Array): string => {
  const parsed = Budget.parse(typeof text === "string" ? bytesOf(text) : text)
  return Result.isSuccess(parsed) ? "a budget" : `${parsed.failure.reason} ${parsed.failure.at ?? ""}`.trim()
}

describe("a budget's file", () => {
  it("is read as it was written, and equal budgets are equal bytes", () => {
    fc.assert(
      fc.property(arbitrary, (budget) => {
        const bytes = Budget.encode(budget)
        const parsed = Result.getOrThrow(Budget.parse(bytes))
        assert.deepStrictEqual(plain(parsed), plain(budget))
        assert.deepStrictEqual(Budget.encode(parsed), bytes)
      }),
      { numRuns: runs(200) }
    )
  })

  it("has a line for each number, in the order of names", () => {
    const stored = { ...measured({ stack: 8, instructions: 3 }), stackDepths: [8, 0], thresholds: new Map() }
    const budget: Budget.Budget = {
      kernel: "6.1.0",
      thresholds: new Map([["stack", { limit: 512 }]] as const),
      programs: new Map([["b", stored], ["__proto__", { ...stored, values: new Map() }]])
    }
    assert.strictEqual(
      new TextDecoder().decode(Budget.encode(budget)),
      `{
  "kernel": "6.1.0",
  "programs": {
    "__proto__": {
      "stack_depths": [8, 0]
    },
    "b": {
      "instructions": 3,
      "stack": 8,
      "stack_depths": [8, 0]
    }
  },
  "thresholds": {
    "stack": {
      "limit": 512
    }
  },
  "version": 1
}
`
    )
  })

  it("that was changed by anybody is a budget or says what is wrong", () => {
    fc.assert(
      fc.property(arbitrary, fc.array(fc.tuple(fc.nat(), fc.nat(255))), fc.nat(), (budget, changes, end) => {
        const bytes = Budget.encode(budget)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const parsed = Budget.parse(end % 3 === 0 ? bytes.subarray(0, end % bytes.length) : bytes)
        if (Result.isFailure(parsed)) assert.match(parsed.failure.message, /^no budget: /)
      }),
      { numRuns: runs(300) }
    )
    fc.assert(
      fc.property(fc.json(), (text) => {
        Budget.parse(bytesOf(text))
      }),
      { numRuns: runs(200) }
    )
  })

  it("of the wrong kinds says where", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["", "Json"],
      ["{", "Json"],
      ["[".repeat(1_000_000), "Json"],
      [`${"[".repeat(500_000)}${"]".repeat(500_000)}`, "Shape"],
      ["NaN", "Json"],
      ["null", "Shape"],
      ["[]", "Shape"],
      ["{}", "Version version"],
      ["{\"version\":2}", "Version version"],
      ["{\"version\":\"1\"}", "Version version"],
      ["{\"version\":1,\"program\":{}}", "Shape program"],
      ["{\"version\":1,\"kernel\":6}", "Shape kernel"],
      ["{\"version\":1,\"programs\":[]}", "Shape programs"],
      ["{\"version\":1,\"programs\":{\"p\":7}}", "Shape programs.p"],
      ["{\"version\":1,\"programs\":{\"p\":{\"stack\":-1}}}", "Shape programs.p.stack"],
      ["{\"version\":1,\"programs\":{\"p\":{\"stack\":1.5}}}", "Shape programs.p.stack"],
      ["{\"version\":1,\"programs\":{\"p\":{\"stack\":1e999}}}", "Shape programs.p.stack"],
      ["{\"version\":1,\"programs\":{\"p\":{\"stack\":\"8\"}}}", "Shape programs.p.stack"],
      ["{\"version\":1,\"programs\":{\"p\":{\"stack_depths\":[1,null]}}}", "Shape programs.p.stack_depths"],
      ["{\"version\":1,\"programs\":{\"p\":{\"__proto__\":{}}}}", "Shape programs.p.__proto__"],
      ["{\"version\":1,\"programs\":{\"p\":{\"constructor\":1}}}", "Shape programs.p.constructor"],
      ["{\"version\":1,\"thresholds\":{\"stack\":{\"percent\":-1}}}", "Shape thresholds.stack.percent"],
      ["{\"version\":1,\"thresholds\":{\"stack\":{\"percent\":1e999}}}", "Shape thresholds.stack.percent"],
      ["{\"version\":1,\"thresholds\":{\"stack\":{\"absolut\":1}}}", "Shape thresholds.stack.absolut"],
      ["{\"version\":1,\"thresholds\":{\"stak\":{}}}", "Shape thresholds.stak"]
    ]
    for (const [text, wanted] of cases) assert.strictEqual(refused(text), wanted, text.slice(0, 80))
    assert.strictEqual(refused(Uint8Array.of(0xff, 0xfe)), "Json")
    assert.strictEqual(refused(new Uint8Array(Budget.maximumSize + 1).fill(0x20)), "TooLarge")
    // Names that objects have anyway are names as any other.
    assert.strictEqual(refused("{\"version\":1,\"programs\":{\"__proto__\":{\"stack\":1}}}"), "a budget")
  })
})
