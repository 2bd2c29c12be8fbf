/**
 * What a CI run comes to, out of the reports of its test runs: each failure once more with the beginning of its message,
 * since of a long log often just the end is kept, and the sums as the last line.
 */
import * as Fs from "node:fs"
import { stripVTControlCharacters } from "node:util"

/** Lines of a failure's message that are repeated. */
const maximumLines = 12
/** Failures that are repeated. */
const maximumFailures = 40

const sum = { passed: 0, failed: 0, skipped: 0 }
const failures = []

const beginning = (text) => {
  const lines = stripVTControlCharacters(String(text ?? "")).split("\n")
  return lines.slice(0, maximumLines).map((line) => `    ${line.slice(0, 500)}`).join("\n")
}

for (const file of process.argv.slice(2)) {
  if (!Fs.existsSync(file)) continue
  const report = JSON.parse(Fs.readFileSync(file, "utf8"))
  if (report.testResults === undefined) {
    // Of the virtual machines. What was left out there is told where they ran, with the reason; it ran here.
    sum.passed += report.passed
    sum.failed += report.failed
    failures.push(...(report.failures ?? []).map(({ error, test }) => ({ name: test, message: error })))
    continue
  }
  sum.passed += report.numPassedTests
  sum.failed += report.numFailedTests
  sum.skipped += report.numPendingTests + report.numTodoTests
  for (const { assertionResults, message, name, status } of report.testResults) {
    const path = name.replace(`${process.cwd()}/`, "")
    const failed = assertionResults.filter((each) => each.status === "failed")
    failures.push(...failed.map((each) => ({
      name: `${path} > ${each.fullName}`,
      message: each.failureMessages.join("\n")
    })))
    // A file that fails as a whole, in its imports or hooks.
    if (status === "failed" && failed.length === 0) failures.push({ name: path, message })
  }
}

const lines = failures.slice(0, maximumFailures).map(({ message, name }) => `FAILED ${name}\n${beginning(message)}`)
if (failures.length > maximumFailures) lines.push(`... and ${failures.length - maximumFailures} more failures`)
lines.push(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
process.stdout.write(`${lines.join("\n")}\n`)
