# How everything here is compiled, and the three ways to declare something: aim_library, aim_program, aim_test.
# LINKS takes layer names (base, store, ...), the names of third_party/ (uv, sqlite3, jansson, crypto, ssl, llhttp,
# cmocka) or any CMake target.

set(AIM_LAYERS base memory repl store net cluster ops http mcp cli app)
set(AIM_PARTIES uv sqlite3 jansson crypto ssl llhttp cmocka)

set(AIM_SANITIZE "" CACHE STRING "empty, address (with undefined) or thread")
set_property(CACHE AIM_SANITIZE PROPERTY STRINGS "" address thread)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")     # no NDEBUG: the assertions of base/check.h stay on in production
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

if(AIM_SANITIZE STREQUAL "address")
    set(AIM_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(AIM_SANITIZE STREQUAL "thread")
    set(AIM_SANITIZE_FLAGS -fsanitize=thread)
elseif(NOT AIM_SANITIZE STREQUAL "")
    message(FATAL_ERROR "AIM_SANITIZE is '${AIM_SANITIZE}': empty, address or thread")
endif()
add_compile_options(${AIM_SANITIZE_FLAGS})
add_link_options(${AIM_SANITIZE_FLAGS})

if(NOT AIM_SANITIZE AND CMAKE_BUILD_TYPE STREQUAL "Release")
    set(AIM_HARDENING -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

# Our own code only; what third_party/ compiles has flags of its own.
add_library(aim_flags INTERFACE)
target_compile_options(aim_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Werror -Wstrict-prototypes -Wmissing-prototypes ${AIM_HARDENING})
target_compile_definitions(aim_flags INTERFACE
    _GNU_SOURCE AIM_VERSION="${PROJECT_VERSION}" $<$<STREQUAL:${AIM_SANITIZE},address>:AIM_ASAN>)
target_include_directories(aim_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)

function(aim_link target scope)
    set(targets)
    foreach(name IN LISTS ARGN)
        if(name IN_LIST AIM_LAYERS)
            list(APPEND targets aim_${name})
        elseif(name IN_LIST AIM_PARTIES)
            list(APPEND targets aim::${name})
        else()
            list(APPEND targets ${name})
        endif()
    endforeach()
    target_link_libraries(${target} ${scope} ${targets})
endfunction()

# Leaves in <out> those of the listed sources that exist, and says which do not.
function(aim_sources out what)
    set(found)
    foreach(file IN LISTS ARGN)
        if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file} OR IS_ABSOLUTE ${file})
            list(APPEND found ${file})
        else()
            message(WARNING "${what}: ${file} is listed and does not exist")
        endif()
    endforeach()
    set(${out} ${found} PARENT_SCOPE)
endfunction()

# aim_library(<layer> SOURCES ... LINKS ...): the static library aim_<layer>.
function(aim_library layer)
    cmake_parse_arguments(PARSE_ARGV 1 A "" "" "SOURCES;LINKS")
    aim_sources(sources aim_${layer} ${A_SOURCES})
    if(sources)
        add_library(aim_${layer} STATIC ${sources})
        target_link_libraries(aim_${layer} PRIVATE aim_flags)
        aim_link(aim_${layer} PUBLIC ${A_LINKS})
    else()
        add_library(aim_${layer} INTERFACE)
    endif()
endfunction()

# aim_program(<name> SOURCES ... LINKS ...): an executable in the top of the build directory.
function(aim_program name)
    cmake_parse_arguments(PARSE_ARGV 1 A "" "" "SOURCES;LINKS")
    aim_sources(sources ${name} ${A_SOURCES})
    if(NOT sources)
        return()
    endif()
    add_executable(${name} ${sources})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    target_link_libraries(${name} PRIVATE aim_flags)
    aim_link(${name} PRIVATE ${A_LINKS})
endfunction()

# aim_test(<name> SOURCES ... LINKS ... [LABELS ...] [ARGS ...] [TIMEOUT seconds]): a cmocka program and its ctest entry.
# The target tsan-tests builds all those labelled tsan.
function(aim_test name)
    cmake_parse_arguments(PARSE_ARGV 1 A "" "TIMEOUT" "SOURCES;LINKS;LABELS;ARGS")
    aim_sources(sources ${name} ${A_SOURCES})
    if(NOT sources)
        return()
    endif()
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 60)
    endif()
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE aim_flags)
    aim_link(${name} PRIVATE ${A_LINKS} cmocka)
    add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}")
    if("tsan" IN_LIST A_LABELS)
        add_dependencies(tsan-tests ${name})
    endif()
endfunction()
add_custom_target(tsan-tests)
