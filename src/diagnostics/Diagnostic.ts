/**
 * One thing that is wrong with an object, or worth telling of it: at which level, by which rule, where.
 *
 * Every failure that is about an object becomes one, and so does what is found without a failure: findings of
 * `Compatibility`, growth over a `Budget`, what `Requirements` ask for. What shows them (SARIF, annotations of GitHub) knows
 * nothing of where they came from.
 *
 * ```ts
 * const [diagnostic] = Diagnostic.ofError(error, { object: "firewall.bpf.o" })
 * console.log(diagnostic.rule, diagnostic.message, diagnostic.place?.line)
 * ```
 *
 * Texts come from objects, logs and file systems, which may hold anything: they are cut to lengths that people read, and
 * whoever prints them escapes them.
 */
export { levels, make, worstFirst } from "./diagnostic/Model.ts"
export type { About, Diagnostic, Level, Place, Related } from "./diagnostic/Model.ts"
export { ofError } from "./diagnostic/OfErrors.ts"
export { ofBudget, ofMatrix, ofRequirements } from "./diagnostic/OfFindings.ts"
export { rules } from "./diagnostic/Rules.ts"
export type { Rule } from "./diagnostic/Rules.ts"
