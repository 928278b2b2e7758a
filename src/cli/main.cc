#include "cli/app.h"

int main(int argc, char** argv) { return wingspan::run_app(argc, argv); }
