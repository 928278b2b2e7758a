# Run at build time: OUTPUT becomes a header with the text of INPUT as kNAME.
file(READ ${INPUT} text)
# Both compilers take literals beyond the 65,536 characters that the standard asks for.
file(WRITE ${OUTPUT} "#pragma once
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \"-Woverlength-strings\"
namespace wingspan {
inline constexpr const char* k${NAME} = R\"embedded(${text})embedded\";
}  // namespace wingspan
#pragma GCC diagnostic pop
")
