#include "text/regex_dialect.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(RegexDialect, LeavesOrdinaryPatternsAlone) {
  for (const char* pattern :
       {R"( ?[^\p{L}\p{N}]+|\p{N}{1,3}|(?i:'s|'t))", R"([!\"#\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)",
        R"([]a]|[^]a]|[[:alpha:]_]|a&&b)", R"(\[&&\])"}) {
    EXPECT_EQ(ToPcre2Dialect(pattern), pattern);
  }
}

TEST(RegexDialect, WritesIntersectionsAsLookaheads) {
  EXPECT_EQ(ToPcre2Dialect(R"([\p{Lu}\p{M}&&[^\p{Han}]]*x)"),
            R"((?:(?![\p{sc:Han}])[\p{Lu}\p{M}])*x)");
  EXPECT_EQ(ToPcre2Dialect("[a-z&&[aeiou]]"), "(?:(?=[aeiou])[a-z])");
  EXPECT_EQ(ToPcre2Dialect("[a-z&&aeiou]"), "(?:(?=[aeiou])[a-z])");
  EXPECT_EQ(ToPcre2Dialect("[[^a-z]&&[^0-9]&&[^_]]"), "(?:(?![0-9])(?![_])[^a-z])");
}

TEST(RegexDialect, NarrowsScripts) {
  EXPECT_EQ(ToPcre2Dialect(R"([\p{Han}a]\P{Greek}\p{^Thai}\\p{Han})"),
            R"([\p{sc:Han}a]\P{sc:Greek}\p{^sc:Thai}\\p{Han})");
  EXPECT_EQ(ToPcre2Dialect(R"(\p{L}\p{^Nd}\p{White_Space}\p{Any}\p{})"),
            R"(\p{L}\p{^Nd}\p{White_Space}\p{Any}\p{})");
  EXPECT_THROW(ToPcre2Dialect(R"(\p{Han)"), Error);
}

TEST(RegexDialect, NarrowsWhitespace) {
  EXPECT_EQ(ToPcre2Dialect(R"(\s+(?!\S)|[^\s\\s])"),
            R"(\p{White_Space}+(?!\P{White_Space})|[^\p{White_Space}\\s])");
}

TEST(RegexDialect, RefusesWhatItCannotExpress) {
  for (const char* pattern :
       {"[a[bc]]", "[^a-z&&[^b]]", "[a&&]", "[&&a]", "[a", "[a&&[b", "[a&&[b]c]", "[a&&[b[c]]]"}) {
    EXPECT_THROW(ToPcre2Dialect(pattern), Error) << pattern;
  }
}

TEST(RegexDialect, Quotes) { EXPECT_EQ(QuoteForRegex("a.b\\[é]"), R"(a\.b\\\[é\])"); }

}  // namespace
}  // namespace doppler
