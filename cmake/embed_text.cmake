# Run at build time: OUTPUT becomes a header with the text of INPUT as kNAME.
file(READ ${INPUT} text)
file(WRITE ${OUTPUT} "#pragma once
namespace wingspan {
inline constexpr const char* k${NAME} = R\"embedded(${text})embedded\";
}  // namespace wingspan
")
